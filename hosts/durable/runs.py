"""The open runs of a shard: in memory, or rebuilt from the journal when they are touched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from hosts.durable import replay
from hosts.durable.attempts import Key
from hosts.durable.execution import Activity, Execution
from hosts.durable.flights import Flight
from hosts.durable.records import NIL, Record
from journal.errors import BadRecordError
from journal.records import RunRow
from journal.unit import Unit
from runtime import inputs
from runtime.errors import Kind, PerdureError
from runtime.lua.machine import OutOfMemoryError

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

logger = logging.getLogger(__name__)


class Runs:
    """Finds runs by workflow id and by number. Used on the shard's thread."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._journal = shard.journal
        self._parts = shard.parts
        self._by_id: dict[str, Execution] = {}
        self._by_run: dict[int, Execution] = {}

    def find(self, workflow_id: str) -> Execution | None:
        """The open run of a workflow id, rebuilt from its history where needed; None without
        one."""
        execution = self._by_id.get(workflow_id)
        if execution is not None:
            return None if execution.ended else execution
        run = self._journal.run_of(workflow_id)
        return None if run is None else self.find_run(run)

    def find_run(self, run: int) -> Execution | None:
        """The same by run number."""
        execution = self._by_run.get(run)
        if execution is not None:
            return None if execution.ended else execution
        row = self._journal.run(run)
        if row is None or not row.is_open or row.host != self._parts.host_id:
            return None
        return self.load(run, row)

    def find_activity(self, key: Key) -> tuple[Execution, Activity] | None:
        """An activity that has no result yet, and its open run."""
        execution = self.find_run(key[0])
        activity = None if execution is None else execution.activities.get(key[1])
        return None if execution is None or activity is None else (execution, activity)

    def unfinished(self, workflow_id: str) -> Execution | None:
        """The run whose end is still to be told: an open one, or one that ended but not yet on
        disk."""
        return self._by_id.get(workflow_id) or self.find(workflow_id)

    def row_of(self, workflow_id: str) -> RunRow | None:
        """How the current or last run of a workflow id stands, as far as memory knows."""
        execution = self._by_id.get(workflow_id)
        if execution is not None:
            return execution.row
        run = self._journal.run_of(workflow_id)
        return None if run is None else self._journal.run(run)

    def held(self, workflow_id: str) -> Execution | None:
        """The run of a workflow id that is in memory."""
        return self._by_id.get(workflow_id)

    def row_of_run(self, run: int) -> RunRow | None:
        """How a run stands, as far as memory knows."""
        execution = self._by_run.get(run)
        return self._journal.run(run) if execution is None else execution.row

    def keep(self, execution: Execution) -> None:
        """Hold a run in memory."""
        self._by_id[execution.row.workflow_id] = execution
        self._by_run[execution.run] = execution
        execution.used = self._shard.flights.sent

    def holds(self, execution: Execution) -> bool:
        """Whether a run is in memory as this."""
        return self._by_run.get(execution.run) is execution

    def __len__(self) -> int:
        """How many runs are in memory."""
        return len(self._by_run)

    def used(self, run: int, unit: int) -> None:
        """A unit about a run is on its way to the disk."""
        execution = self._by_run.get(run)
        if execution is not None:
            execution.used = unit

    def evictable(self, settled: int) -> list[Execution]:
        """Runs that wait, and of which all is on disk and done.

        Args:
            settled: number of the last unit of the shard that is.
        """
        return [
            execution
            for execution in self._by_run.values()
            if execution.used <= settled and execution.may_leave
        ]

    def pid_of(self, row: RunRow) -> str:
        """PID of the workflow of a run."""
        return f"{{{self._parts.host_id}|{row.workflow_id}}}"

    def load(self, run: int, row: RunRow) -> Execution:
        """An open run, rebuilt from the journal; parked when its code cannot carry it on."""
        execution = Execution(run, row, self.pid_of(row))
        self.keep(execution)
        try:
            rescued = self._shard.migration.rescued(run, row) if execution.suspended else None
            if rescued is not None:
                return rescued
            problem = self._replay(execution)
        except BadRecordError as error:
            return self._quarantine(execution, error)
        except OutOfMemoryError as error:
            self._shard.losses.vm(error)
            execution = self.at_rest(run, row)
            self.keep(execution)
            problem = f"its replay fills the VM ({error}): raise limits.memory"
        if problem is not None:
            # One that was parked before was tried on the deployed code just now.
            effects = [] if execution.suspended else [self._shard.migration.after_parking(run)]
            unit = Unit()
            self.park(execution, problem, unit)
            unit.put_run(run, execution.row)
            self._shard.submit(unit, Flight(run, effects=effects))
            return execution
        if execution.suspended:
            self._go_on(execution)
        if execution.waiting and not execution.dormant:
            self._shard.wake(execution)
        return execution

    def _replay(self, execution: Execution) -> str | None:
        """Rebuild a run; why its code cannot carry it on, None when it can."""
        machine = self._shard.machine
        mismatch = replay.replay(
            execution,
            self.recorded(execution.run),
            self.attempts(execution.run),
            machine,
            lambda started: self._shard.code.definition(execution.row, started),
        )
        if mismatch is None:
            return None
        machine.step([inputs.drop(execution.pid)], 0)
        recorded = self.recorded(execution.run)
        mismatch.source = replay.source_line(execution, recorded, machine, mismatch.position)
        machine.step([inputs.drop(execution.pid)], 0)
        return str(mismatch)

    def recorded(self, run: int) -> Iterator[Record]:
        """The history of a run."""
        return self._journal.records(run)

    def attempts(self, run: int) -> dict[int, list[Any]]:
        """What the journal keeps besides the history of pending activities of a run, by number."""
        return {each.seq: each.row for each in self._journal.activities_of(run)}

    def _quarantine(self, execution: Execution, error: BadRecordError) -> Execution:
        """It keeps what it is sent, and does nothing: a wrong step would be worse."""
        logger.error("%s is quarantined: %s", execution.pid, error)
        self._shard.machine.step([inputs.drop(execution.pid)], 0)
        execution = self.at_rest(execution.run, execution.row)
        execution.suspended = True
        self.keep(execution)
        return execution

    def to_end(self, workflow_id: str) -> Execution | None:
        """The open run of a workflow id, to be ended: nothing of its code runs for that."""
        execution = self._by_id.get(workflow_id)
        if execution is not None:
            return None if execution.ended else execution
        run = self._journal.run_of(workflow_id)
        if run is None:
            return None
        try:
            row = self._journal.run(run)
        except BadRecordError as error:
            logger.error("%s of %s: %s", workflow_id, self._parts.host_id, error)
            row = RunRow(workflow_id, "", "", self._parts.host_id, "open", 0)
        if row is None or not row.is_open or row.host != self._parts.host_id:
            return None
        execution = self.at_rest(run, row)
        self.keep(execution)
        return execution

    def at_rest(self, run: int, row: RunRow) -> Execution:
        """The bookkeeping of a run; what its history does not tell is taken from the indexes."""
        execution = Execution(run, row, self.pid_of(row))
        try:
            replay.restore(execution, self.recorded(run), self.attempts(run))
        except BadRecordError:
            execution = Execution(run, row, self.pid_of(row))
            for pending in self._journal.activities_of(run):
                execution.issue(["activity_scheduled", pending.seq, "", NIL, None, None], None)
                execution.activities[pending.seq].restore(pending.row)
            execution.busy = True  # it may be
            for pending in self._journal.outbox_of(run):
                execution.issue(["message_sent", pending.seq, "", "", NIL], None)
            execution.timers = {seq: due for due, _, seq in self._journal.timers_of(run)}
        return execution

    def _go_on(self, execution: Execution) -> None:
        """The code that is loaded now fits the history of a parked run."""
        logger.info("%s goes on: its history replays again", execution.pid)
        execution.suspended = False
        extra = {key: each for key, each in (execution.row.extra or {}).items() if key != "problem"}
        execution.row = execution.row._replace(status="open", extra=extra or None)
        unit = Unit()
        unit.put_run(execution.run, execution.row)
        if not execution.waiting:
            unit.del_ready(execution.run)
        self._shard.submit(unit, Flight(execution.run))

    def park(self, execution: Execution, why: str, unit: Unit) -> None:
        """Suspend a run that its code cannot carry on; its history stays as it is.

        It is marked as ready, so that each boot tries whether the code does better by then. Its row
        says so from now on; the caller writes it.
        """
        logger.error(
            "%s (%s) is suspended: %s. Load code that does better to let it go on",
            execution.pid, execution.row.entry, why,
        )  # fmt: skip
        self._shard.machine.step([inputs.drop(execution.pid)], 0)
        execution.suspended = True
        execution.row = execution.row._replace(
            status="suspended", extra={**(execution.row.extra or {}), "problem": why}
        )
        unit.put_ready(execution.run)

    def redeployed(self) -> None:
        """The definitions have changed: runs of `latest` entries take the new code at their next
        step, parked ones now."""
        code = self._shard.code
        changed = code.redeployed()
        for execution in self._by_run.values():
            entry = execution.row.entry
            bundle = code.bundle(entry)
            if bundle is None or execution.ended:
                continue
            if execution.starting:
                # It has not run yet, and runs what is in the machine now.
                execution.fresh[0][1]["source"] = bundle.digest
                execution.unit.put_source(bundle.digest, bundle.blob)
            elif execution.suspended and entry in changed:
                execution.stale = True
                self._shard.wake(execution)
            elif code.is_latest(entry) and (entry in changed or execution.definition != entry):
                execution.stale = True

    def current(self, execution: Execution) -> Execution:
        """The run on the code that it is to run now, which is about to get its fresh inputs."""
        if not execution.stale or execution.ended:
            return execution
        return self.rebuild(execution, self.load)

    def rebuild(self, execution: Execution, load: Callable[[int, RunRow], Execution]) -> Execution:
        """The run as `load` makes it from the journal, with the inputs that are not written yet."""
        fresh, acks, unit = execution.fresh, execution.acks, execution.unit
        effects = execution.effects
        execution.taken()
        self._shard.flights.settle_all()
        self._shard.machine.step([inputs.drop(execution.pid)], 0)
        self.forget(execution)
        row = self._journal.run(execution.run)
        assert row is not None
        renewed = load(execution.run, row)
        for record in fresh:
            renewed.consume(record, None)
        renewed.fresh, renewed.acks, renewed.unit = fresh, acks, unit
        renewed.effects = effects
        if fresh:
            self._shard.wake(renewed)
        return renewed

    def end_of(self, workflow_id: str) -> tuple[bool, bytes] | None:
        """How the last run of a workflow id ended, or None when there is none."""
        run = self._journal.run_of(workflow_id)
        row = None if run is None else self._journal.run(run)
        if run is None or row is None or row.is_open:
            return None
        return self.end_of_run(run)

    def end_of_run(self, run: int) -> tuple[bool, bytes] | None:
        """How an ended run ended; None when it was deleted."""
        last = self._journal.history(run, max(self._journal.last_seq(run) - 1, 0))
        return (last[-1][1][0] == "completed", last[-1][1][1]) if last else None

    def gone(self, workflow_id: str) -> PerdureError:
        """Why a workflow cannot be reached."""
        row = self.row_of(workflow_id)
        pid = f"{{{self._parts.host_id}|{workflow_id}}}"
        if row is not None and not row.is_open:
            return PerdureError(
                Kind.NOT_FOUND, f"process not found: {pid} has ended ({row.status})"
            )
        return PerdureError(Kind.NOT_FOUND, f"process not found: {pid}")

    def forget(self, execution: Execution) -> None:
        """Let go of a run; what it becomes next is read from the journal."""
        if self._by_id.get(execution.row.workflow_id) is execution:
            del self._by_id[execution.row.workflow_id]
        self._by_run.pop(execution.run, None)

    def drop_all(self) -> Iterator[Execution]:
        """Let go of every run, one by one; the machine keeps nothing of them."""
        for execution in list(self._by_run.values()):
            self._shard.machine.step([inputs.drop(execution.pid)], 0)
            self.forget(execution)
            yield execution
