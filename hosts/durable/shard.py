"""A shard of the workflow host: one VM worker with the runs whose workflow ids fall to it.

Theory of operation. Everything that happens to a run comes to its shard's inbox: start requests,
signals, results of activities, due timers, answers. A turn takes all that is there, writes it as
input records into the runs it is for (`touch`), lets the machine step every touched run in one
crossing, and hands one unit per run to the journal: the input records, the step record and the
records of the commands that the step gave, with all index rows that follow from them. So a step is
atomic, a result is on disk together with what the run made of it, and a round trip costs one
commit. When the commit is done (`_committed`, back on this thread) acknowledgements go out and
effects are performed: nothing is seen outside before it is on disk.

The shard never waits for the disk: the next turn works on state that is ahead of it. When a commit
fails, that state is worth nothing: every run is dropped from memory and rebuilt from the journal
when next touched (`_lost`), callers are told UNAVAILABLE, and results nobody else keeps are
applied again.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from hosts.durable import history, records, sources
from hosts.durable.activities import Activities
from hosts.durable.deadlines import Deadlines
from hosts.durable.execution import Execution, is_exec
from hosts.durable.inline import InlineFunctions
from hosts.durable.options import StartOptions
from hosts.durable.outbox import RUN_UNIT, Outbox
from hosts.durable.records import Record
from hosts.vm_worker import Item, VmWorker
from journal import faults
from journal.errors import BadRecordError, JournalError, JournalLossError
from journal.journal import Journal
from journal.records import RunRow
from journal.unit import Unit
from runtime import commands as c
from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError
from runtime.inputs import ReplyTo
from runtime.lua.machine import MACHINE_VERSION, Definition, Machine, OutOfMemoryError
from runtime.routing.router import Router, SpawnRequest

logger = logging.getLogger(__name__)

EFFECT_BEFORE: Final = faults.declare("host.effect.before")
EFFECT_AFTER: Final = faults.declare("host.effect.after")
ACK_BEFORE: Final = faults.declare("host.ack.before")
STEP_BEFORE: Final = faults.declare("host.step.before")
STEP_AFTER: Final = faults.declare("host.step.after")

#: How long inputs that could not be written wait for the journal, ns.
_RETRY_NS: Final = 1_000_000_000


class Parts(NamedTuple):
    """What a shard shares with its host."""

    host_id: str
    task_queue: str
    journal: Journal
    router: Router
    definitions: dict[str, Definition]
    #: entry -> its versioning, "pinned" or "latest"
    versioning: dict[str, str]
    #: entry -> "fail" or "suspend"
    on_error: dict[str, str]


class Flight(NamedTuple):
    """What a submitted unit owes once it is on disk."""

    run: int
    acks: list[tuple[ReplyTo, bytes]]
    effects: list[Callable[[], None]]
    #: input records that nobody outside would send again
    internal: list[Record]


class Shard(VmWorker):
    """Owns runs; every method but `post` runs on its thread."""

    def __init__(
        self,
        name: str,
        parts: Parts,
        make_machine: Callable[[], Machine],
        make_activities: Callable[[Shard], Activities],
        make_inline: Callable[[Shard], InlineFunctions],
        deadlines: Deadlines,
    ) -> None:
        super().__init__(name)
        self.parts = parts
        self.journal = parts.journal
        self._make_machine = make_machine
        self.machine = make_machine()
        self.activities = make_activities(self)
        self.inline = make_inline(self)
        self.deadlines = deadlines
        self.outbox = Outbox(self)
        #: Open runs in memory, by workflow id.
        self.executions: dict[str, Execution] = {}
        self._by_run: dict[int, Execution] = {}
        self._touched: dict[int, Execution] = {}
        self._pinned: set[bytes] = set()
        self._bundles: dict[str, sources.Bundle] = {}
        #: Ended runs that asked for something in their last step, until it is answered.
        self._orphans: dict[int, Execution] = {}
        #: (PID, whether by link) of those who hear of a run's end.
        self._watchers: dict[int, list[tuple[str, bool]]] = {}
        self._outcomes: dict[int, list[ReplyTo]] = {}
        self._keys: set[str] = set()
        self._losses = self.journal.losses

    # The turn -------------------------------------------------------------------------------------

    def turn(self, items: list[Item]) -> bool:
        for item in items:
            assert callable(item)
            try:
                item()
            except Exception:
                # A request that breaks us must not take those beside it along.
                logger.exception("%s: cannot handle %r", self.name, item)
        more = not items
        while self._touched or self.inline.inputs or more:
            touched = list(self._touched.values())
            self._touched = {}
            more = self._advance(touched)
            if more and not self._touched:
                # A function is busy: look at the inbox between its slices.
                return True
        return False

    def touch(self, execution: Execution, record: Record, ack: ReplyTo | None = None) -> None:
        """Give a run an input; `ack` hears true once it is on disk."""
        if not execution.expects(record):
            return
        execution.fresh.append(record)
        if ack is not None:
            execution.acks.append((ack, encode(True)))
        self._touched[execution.run] = execution

    def _advance(self, touched: list[Execution]) -> bool:
        """Step runs and functions once; whether a function has more to run."""
        faults.point(STEP_BEFORE)
        wall = self.deadlines.wall()
        batch = self.inline.take()
        for execution in touched:
            if execution.suspended:
                continue
            execution.now = max(execution.now, wall)
            consumed = execution.waiting + execution.fresh
            given = [
                history.machine_input(execution.pid, execution.definition, record)
                for record in consumed
            ]
            batch.append(
                [
                    "step",
                    execution.pid,
                    execution.now,
                    None,
                    given,
                    execution.length,
                    execution.size,
                ]
            )
        try:
            more, commands = self.machine.step(batch)
        except OutOfMemoryError as error:
            self._vm_lost(touched, error)
            return False
        faults.point(STEP_AFTER)
        given_by: dict[str, list[c.Command]] = {execution.pid: [] for execution in touched}
        by_functions: list[c.Command] = []
        for command in commands:
            given_by.get(command.pid, by_functions).append(command)
        for execution in touched:
            try:
                self._write(execution, given_by[execution.pid])
            except Exception as error:
                self._cannot_write(execution, error)
        self.inline.perform(by_functions)
        return more

    def _write(self, execution: Execution, commands: list[c.Command]) -> None:
        """Hand the step of one run to the journal."""
        run = execution.run
        unit = Unit()
        fresh, acks = execution.fresh, execution.acks
        execution.fresh, execution.acks = [], []
        page: list[Record] = list(fresh)
        effects: list[Callable[[], None]] = []
        starting = bool(fresh) and fresh[0][0] == "started"
        if starting:
            unit.put_run(run, execution.row)
            unit.put_id(execution.row.workflow_id, run)
            bundle = self._bundles[execution.row.entry]
            unit.put_source(bundle.digest, bundle.blob)
        for record in fresh:
            execution.consume(record, unit)
            if record[0] == "message" and len(record) > 4:
                unit.put_dedupe(record[4].encode(), True)
                effects.append(partial(self._keys.discard, record[4]))
        for child, seq in execution.delivered:
            unit.del_outbox(child, seq)
        execution.delivered = []
        if execution.suspended:
            execution.waiting += fresh
            unit.put_ready(run)
        else:
            if execution.waiting:
                unit.del_ready(run)
            consumed = len(execution.waiting) + len(fresh)
            execution.waiting = []
            page.append(["step", execution.now, consumed, MACHINE_VERSION])
            for command in commands:
                if isinstance(command, c.Ended):
                    effects += self._end(execution, command, unit, page)
                    continue
                issued = records.record_of(command)
                if issued is None:
                    effects.append(partial(self.outbox.silent, command))
                    continue
                page.append(issued)
                execution.issue(issued, unit)
                if not isinstance(command, c.Value):
                    effects.append(partial(self._perform, execution, command))
        execution.count(page)
        unit.append(run, page)
        internal = [record for record in fresh if record[0] not in ("message", "started")]
        self.submit(unit, Flight(run, acks, effects, internal))

    def submit(self, unit: Unit, flight: Flight | None = None) -> None:
        """Hand a unit to the journal; what it owes is done on this thread after the commit."""
        flight = flight or Flight(0, [], [], [])

        def done(error: Exception | None) -> None:
            if error is None:
                self.post(partial(self._committed, flight))
            else:
                self.post(partial(self._lost, flight, error))

        try:
            self.journal.submit(unit, done, losses=self._losses)
        except JournalError as error:
            self._lost(flight, error)

    def submit_then(self, unit: Unit, run: int, effect: Callable[[], None]) -> None:
        """Hand a unit to the journal, and do something once it is on disk."""
        self.submit(unit, Flight(run, [], [effect], []))

    def _committed(self, flight: Flight) -> None:
        faults.point(ACK_BEFORE)
        router = self.parts.router
        for reply, value in flight.acks:
            router.answer(reply, value)
        for effect in flight.effects:
            faults.point(EFFECT_BEFORE)
            effect()
            faults.point(EFFECT_AFTER)

    def _lost(self, flight: Flight, error: Exception) -> None:
        """A unit is not on disk: what memory says beyond the disk is worth nothing."""
        refusal = PerdureError(Kind.UNAVAILABLE, f"{self.parts.host_id}: {error}", True)
        for reply, _ in flight.acks:
            self.parts.router.refuse(reply, refusal)
        stale = not isinstance(error, JournalLossError)
        if stale or self._losses != self.journal.losses:
            logger.error("%s: %s", self.parts.host_id, error)
            self._forget_all(refusal)
            self._losses = self.journal.losses
        if flight.internal:
            self.deadlines.after(
                _RETRY_NS, partial(self.post, partial(self._again, flight.run, flight.internal))
            )

    def _forget_all(self, refusal: PerdureError) -> None:
        """Drop every run from memory; each is rebuilt from the journal when it is next touched."""
        for execution in self.executions.values():
            for reply, _ in execution.acks:
                self.parts.router.refuse(reply, refusal)
            self.machine.step([["drop", execution.pid]])
        self.executions.clear()
        self._by_run.clear()
        self._touched.clear()
        self._keys.clear()

    def _cannot_write(self, execution: Execution, error: Exception) -> None:
        """A step that the journal cannot hold hurts its run only: it is as if it had not been."""
        logger.exception("%s: a step cannot be written", execution.pid)
        refusal = PerdureError(Kind.INTERNAL, f"{execution.pid}: {error}")
        for reply, _ in execution.acks:
            self.parts.router.refuse(reply, refusal)
        self.machine.step([["drop", execution.pid]])
        self.executions.pop(execution.row.workflow_id, None)
        self._by_run.pop(execution.run, None)

    def _vm_lost(self, touched: list[Execution], error: OutOfMemoryError) -> None:
        """The VM hit its cap: a new one takes its place, and the runs are rebuilt in it."""
        logger.error("%s: %s; the VM was replaced", self.name, error)
        self.machine = self._make_machine()
        self._pinned.clear()
        self.inline.lost(PerdureError(Kind.INTERNAL, f"{self.name}: {error}"))
        lost = [(execution.run, execution.fresh) for execution in touched]
        self._forget_all(PerdureError(Kind.UNAVAILABLE, f"{self.name}: {error}", True))
        for run, fresh in lost:
            internal = [record for record in fresh if record[0] not in ("message", "started")]
            if internal:
                self.deadlines.after(
                    _RETRY_NS, partial(self.post, partial(self._again, run, internal))
                )

    def _again(self, run: int, internal: list[Record]) -> None:
        execution = self.find_run(run)
        if execution is not None:
            for record in internal:
                self.touch(execution, record)

    # Runs -----------------------------------------------------------------------------------------

    def find(self, workflow_id: str) -> Execution | None:
        """The open run of a workflow id, rebuilt from its history where needed; None without
        one."""
        execution = self.executions.get(workflow_id)
        if execution is not None:
            return None if execution.ended else execution
        run = self.journal.run_of(workflow_id)
        return None if run is None else self.find_run(run)

    def find_run(self, run: int) -> Execution | None:
        """The same by run number."""
        execution = self._by_run.get(run)
        if execution is not None:
            return None if execution.ended else execution
        row = self.journal.run(run)
        if row is None or not row.is_open or row.host != self.parts.host_id:
            return None
        return self._load(run, row)

    def _unfinished(self, workflow_id: str) -> Execution | None:
        """The run whose end is still to be told: an open one, or one that ended but not yet on
        disk."""
        return self.executions.get(workflow_id) or self.find(workflow_id)

    def row_of(self, workflow_id: str) -> RunRow | None:
        """How the current or last run of a workflow id stands, as far as memory knows."""
        execution = self.executions.get(workflow_id)
        if execution is not None:
            return execution.row
        run = self.journal.run_of(workflow_id)
        return None if run is None else self.journal.run(run)

    def _keep(self, execution: Execution) -> None:
        self.executions[execution.row.workflow_id] = execution
        self._by_run[execution.run] = execution

    def _load(self, run: int, row: RunRow) -> Execution:
        pid = f"{{{self.parts.host_id}|{row.workflow_id}}}"
        execution = Execution(run, row, pid)
        self._keep(execution)
        try:
            replay = records.read(record for _, record in self.journal.history(run))
        except BadRecordError as error:
            # It keeps what it is sent, and does nothing: a wrong step would be worse.
            logger.error("%s is quarantined: %s", pid, error)
            execution.suspended = True
            return execution
        attempts = {
            pending.seq: (pending.row[0], pending.row[1])
            for pending in self.journal.activities_of(run)
        }
        history.restore(execution, replay, attempts)
        execution.definition = self._definition(row.entry, replay.started["source"])
        _, commands = self.machine.step(history.replay_steps(execution, replay))
        own = [command for command in commands if command.pid == pid]
        try:
            history.check(replay, own)
        except history.Mismatch as mismatch:
            self._suspend(execution, mismatch)
        else:
            if execution.suspended:
                self._go_on(execution)
            if execution.waiting:
                self._touched[run] = execution
        return execution

    def _go_on(self, execution: Execution) -> None:
        """The code that is loaded now fits the history of a parked run."""
        logger.info("%s goes on: its history replays again", execution.pid)
        execution.suspended = False
        execution.row = execution.row._replace(status="open", extra=None)
        unit = Unit()
        unit.put_run(execution.run, execution.row)
        self.submit(unit)

    def _suspend(self, execution: Execution, why: history.Mismatch) -> None:
        """Park a run that its code can no longer replay; its history stays as it is."""
        logger.error(
            "%s (%s) is suspended: %s. Load code that fits its history to let it go on",
            execution.pid, execution.row.entry, why,
        )  # fmt: skip
        self.machine.step([["drop", execution.pid]])
        execution.suspended = True
        execution.row = execution.row._replace(
            status="suspended",
            extra={**(execution.row.extra or {}), "problem": str(why)},
        )
        unit = Unit()
        unit.put_run(execution.run, execution.row)
        if execution.waiting:
            unit.put_ready(execution.run)
        self.submit(unit)

    def _definition(self, entry: str, digest: bytes) -> str:
        """What the machine runs a run of `entry` as that started on the source `digest`."""
        bundle = self.bundle(entry)
        latest = self.parts.versioning.get(entry, "pinned") == "latest"
        if bundle is not None and (latest or bundle.digest == digest):
            return entry
        if digest not in self._pinned:
            blob = self.journal.source(digest)
            if blob is None:
                return entry
            self.machine.define(sources.renamed(blob, digest))
            self._pinned.add(digest)
        return sources.pinned_name(entry, digest)

    def bundle(self, entry: str) -> sources.Bundle | None:
        """The source that a new run of `entry` starts on."""
        bundle = self._bundles.get(entry)
        if bundle is None and entry in self.parts.definitions:
            bundle = sources.Bundle(entry, self.parts.definitions)
            self._bundles[entry] = bundle
        return bundle

    # Start and end --------------------------------------------------------------------------------

    def start_run(self, request: SpawnRequest, workflow_id: str, options: StartOptions) -> None:
        """Start a run, or do what the policies say when its workflow id is in use."""
        start = request.start
        reply = start.get("reply")
        pid = f"{{{self.parts.host_id}|{workflow_id}}}"
        parent = (
            request.parent
            if request.parent and request.parent[0] == self.journal.journal_id
            else None
        )
        current = self.find(workflow_id)
        row = self.row_of(workflow_id)
        if row and parent is not None and (row.parent, row.parent_seq) == parent[1:]:
            # Asked for before a crash: it is there.
            self._is_there(request, pid, workflow_id, parent, current)
            return
        if current is not None:
            if options.conflict == "terminate_existing":
                self.terminate(current, "terminated for a new run of its workflow id")
            elif options.conflict == "fail" or options.error_when_started:
                self._refuse(request, pid, f"workflow {workflow_id} is running")
                return
            else:
                self._is_there(request, pid, workflow_id, None, current)
                return
        elif row and (
            options.reuse == "reject_duplicate"
            or (options.reuse == "allow_duplicate_failed_only" and row.status == "completed")
        ):
            self._refuse(request, pid, f"workflow {workflow_id} has run before ({row.status})")
            return
        bundle = self.bundle(request.entry)
        assert bundle is not None
        now = self.deadlines.wall()
        run_id = str(uuid.uuid4())
        number = self.journal.next_run()
        new = RunRow(
            workflow_id, run_id, request.entry, self.parts.host_id, "open", now,
            parent=parent[1] if parent else 0, parent_seq=parent[2] if parent else 0,
        )  # fmt: skip
        execution = Execution(number, new, pid)
        execution.context = start.get("context")
        info = {
            "workflow_id": workflow_id,
            "run_id": run_id,
            "workflow_type": request.entry,
            "task_queue": self.parts.task_queue,
            "namespace": request.entry.rpartition(":")[0],
            "attempt": 1,
            "host": self.parts.host_id,
        }
        started = {
            "entry": request.entry,
            "args": request.args,
            "context": start.get("context"),
            "messages": [list(message) for message in start.get("messages", ())],
            "parent": start.get("parent", ""),
            "seed": os.urandom(32),
            "source": bundle.digest,
            "machine": MACHINE_VERSION,
            "info": info,
        }
        self._keep(execution)
        execution.fresh.append(["started", started])
        if reply is not None:
            execution.acks.append((reply, encode(pid)))
        if parent is None:
            if "outcome" in start:
                self._outcomes.setdefault(number, []).append(start["outcome"])
            self._watchers[number] = _watchers_of(request)
        self._touched[number] = execution

    def _is_there(
        self,
        request: SpawnRequest,
        pid: str,
        workflow_id: str,
        parent: tuple[str, int, int] | None,
        current: Execution | None,
    ) -> None:
        """Answer a start request with a run that exists; only once that run is on disk."""
        start = request.start
        acks = [(reply, encode(pid))] if (reply := start.get("reply")) is not None else []
        unit = Unit()
        if current is not None:
            unit.put_id(workflow_id, current.run)
            if parent is None:
                for topic, args in start.get("messages", ()):
                    self.touch(current, ["message", topic, start.get("parent", ""), args])
                self._watchers.setdefault(current.run, []).extend(_watchers_of(request))
                if "outcome" in start:
                    self._outcomes.setdefault(current.run, []).append(start["outcome"])
        self.submit(unit, Flight(0, acks, [], []))

    def _refuse(self, request: SpawnRequest, pid: str, message: str) -> None:
        error = PerdureError(Kind.ALREADY_EXISTS, message, details={"pid": pid})
        self.parts.router.refuse(request.start.get("reply"), error)
        if "outcome" in request.start:
            self.parts.router.refuse(request.start["outcome"], error)

    def _end(
        self, execution: Execution, command: c.Ended, unit: Unit, page: list[Record]
    ) -> list[Callable[[], None]]:
        """The run's main returned or failed: write its end; returns the effects."""
        if not command.ok and self.parts.on_error.get(execution.row.entry) == "suspend":
            error = decode(command.value)
            execution.suspended = True
            execution.row = execution.row._replace(
                status="suspended", extra={**(execution.row.extra or {}), "problem": str(error)}
            )
            unit.put_run(execution.run, execution.row)
            logger.error("%s (%s) is suspended: %s", execution.pid, execution.row.entry, error)
            return []
        status = "completed" if command.ok else "failed"
        if not command.ok and decode(command.value).kind == Kind.CANCELED:
            status = "cancelled"
        return self._finish(execution, status, command.ok, command.value, unit, page)

    def _finish(
        self,
        execution: Execution,
        status: str,
        ok: bool,
        value: bytes,
        unit: Unit,
        page: list[Record],
    ) -> list[Callable[[], None]]:
        page.append([status, value])
        row = execution.row._replace(status=status, ended_ns=self.deadlines.wall())
        execution.row = row
        execution.ended = True
        running = list(execution.activities)
        execution.clear(unit, page)
        if execution.requests:
            self._orphans[execution.run] = execution
        unit.put_run(execution.run, row)
        unit.put_ended(execution.run, row.ended_ns)
        if row.parent:
            unit.put_outbox(execution.run, 0, [row.parent, row.parent_seq])
        return [
            partial(self.activities.cancel_run, execution.run, running),
            partial(self._ended, execution, ok, value),
        ]

    def _ended(self, execution: Execution, ok: bool, value: bytes) -> None:
        """The end is on disk: tell everybody who waits for it."""
        row = execution.row
        if self.executions.get(row.workflow_id) is execution:
            del self.executions[row.workflow_id]
        self._by_run.pop(execution.run, None)
        router = self.parts.router
        router.names.release(execution.pid)
        for reply in self._outcomes.pop(execution.run, ()):
            router.answer(reply, value, ok)
        for watcher, linked in self._watchers.pop(execution.run, ()):
            self.outbox.send_exit(watcher, linked, execution.pid, row.ended_ns, ok, value)
        if row.parent:
            self.outbox.tell_parent(execution.run, row, ok, value)

    def terminate(self, execution: Execution, reason: str, ack: ReplyTo | None = None) -> None:
        """End a run from outside, whatever it is doing."""
        error = PerdureError(Kind.CANCELED, "process terminated", details={"reason": reason})
        if execution.fresh and execution.fresh[0][0] == "started":
            # Not written yet: it starts first, so that its history has a beginning.
            self._touched.pop(execution.run, None)
            self._advance([execution])
            if execution.ended:
                self.submit(Unit(), Flight(0, [(ack, encode(True))] if ack else [], [], []))
                return
        unit = Unit()
        # What was acknowledged belongs into the history, though nobody will read it.
        page: list[Record] = list(execution.fresh)
        effects = self._finish(execution, "terminated", False, encode(error), unit, page)
        unit.append(execution.run, page)
        self._touched.pop(execution.run, None)
        acks = execution.acks + ([(ack, encode(True))] if ack else [])
        execution.acks = []
        self.machine.step([["drop", execution.pid]])
        self.submit(unit, Flight(execution.run, acks, effects, []))

    # What comes in --------------------------------------------------------------------------------

    def message(
        self,
        workflow_id: str,
        topic: str,
        sender: str,
        args: bytes,
        ack: ReplyTo | None,
        key: str | None,
    ) -> None:
        """A signal."""
        execution = self.find(workflow_id)
        if key is not None:
            # Scoped to the workflow, but for those of runs, which are unique already.
            key = key if key.startswith("run:") else f"key:{workflow_id}:{key}"
            if key in self._keys or self.journal.dedupe(key.encode()):
                self.submit(Unit(), Flight(0, [(ack, encode(True))] if ack else [], [], []))
                return
        if execution is None:
            self.parts.router.refuse(ack, self.gone(workflow_id))
            return
        record: Record = ["message", topic, sender, args]
        if key is not None:
            self._keys.add(key)
            record.append(key)
        self.touch(execution, record, ack)

    def control(
        self, workflow_id: str, verb: str, sender: str, reason: str | None, ack: ReplyTo | None
    ) -> None:
        """terminate, cancel, monitor, unmonitor, link, unlink, probe."""
        watching = verb in ("monitor", "unmonitor", "link", "unlink")
        execution = self._unfinished(workflow_id) if watching else self.find(workflow_id)
        router = self.parts.router
        if verb in ("monitor", "link") and execution is None:
            end = self.end_of(workflow_id)
            if end is None:
                router.refuse(ack, self.gone(workflow_id))
                return
            router.answer(ack)
            pid = f"{{{self.parts.host_id}|{workflow_id}}}"
            self.outbox.send_exit(sender, verb == "link", pid, self.deadlines.wall(), *end)
            return
        if execution is None:
            router.refuse(ack, self.gone(workflow_id))
        elif verb == "terminate":
            self.terminate(execution, reason or "", ack)
        elif verb == "cancel":
            self.touch(execution, ["cancel_requested", sender, reason], ack)
        else:
            watchers = self._watchers.setdefault(execution.run, [])
            watcher = (sender, verb in ("link", "unlink"))
            if verb in ("monitor", "link") and watcher not in watchers:
                watchers.append(watcher)
            elif verb in ("unmonitor", "unlink") and watcher in watchers:
                watchers.remove(watcher)
            router.answer(ack)

    def answered(self, number: int, ok: bool, value: bytes) -> None:
        """The answer to something a run asked of the node."""
        run, seq = divmod(number, RUN_UNIT)
        execution = self.find_run(run)
        request = execution.requests.get(seq) if execution is not None else None
        if execution is not None and request is not None:
            self.touch(execution, self.outbox.answer_record(request, seq, ok, value))
        elif run in self._orphans:
            orphan = self._orphans[run]
            unit = Unit()
            orphan.settle(seq, unit)
            if not orphan.requests:
                del self._orphans[run]
            self.submit(unit)

    def event(self, workflow_id: str, event: bytes) -> None:
        """An event for the run, of a process that it started."""
        execution = self.find(workflow_id)
        if execution is not None:
            self.touch(execution, ["event", event])

    def child_ended(
        self, run: int, seq: int, child: int, pid: str, ok: bool, value: bytes, at: int
    ) -> None:
        """A child run ended; its word to its parent is settled with the parent's record of it."""
        execution = self.find_run(run)
        request = execution.requests.get(seq) if execution is not None else None
        if execution is not None and (request is not None or seq in execution.children):
            execution.delivered.append((child, 0))
            by_exec = request is not None and is_exec(request)
            self.touch(execution, ["child_ended", seq, ok, value, pid, by_exec, at])
        else:
            unit = Unit()
            unit.del_outbox(child, 0)
            self.submit(unit)

    def timer_due(self, run: int, seq: int) -> None:
        """A durable timer fell due."""
        execution = self.find_run(run)
        if execution is not None:
            self.touch(execution, ["timer_fired", seq])

    def outcome(self, workflow_id: str, reply: ReplyTo) -> None:
        """Answer with the result of the current run, now or when it ends."""
        execution = self._unfinished(workflow_id)
        if execution is not None:
            self._outcomes.setdefault(execution.run, []).append(reply)
            return
        end = self.end_of(workflow_id)
        if end is None:
            self.parts.router.refuse(reply, self.gone(workflow_id))
        else:
            self.parts.router.answer(reply, end[1], end[0])

    def end_of(self, workflow_id: str) -> tuple[bool, bytes] | None:
        """How the last run of a workflow id ended, or None when there is none."""
        run = self.journal.run_of(workflow_id)
        row = None if run is None else self.journal.run(run)
        if run is None or row is None or row.is_open:
            return None
        return self.end_of_run(run)

    def end_of_run(self, run: int) -> tuple[bool, bytes]:
        """How an ended run ended."""
        last = self.journal.history(run, self.journal.last_seq(run) - 1)[-1][1]
        return last[0] == "completed", last[1]

    def gone(self, workflow_id: str) -> PerdureError:
        """Why a workflow cannot be reached."""
        row = self.row_of(workflow_id)
        pid = f"{{{self.parts.host_id}|{workflow_id}}}"
        if row is not None and not row.is_open:
            return PerdureError(
                Kind.NOT_FOUND, f"process not found: {pid} has ended ({row.status})"
            )
        return PerdureError(Kind.NOT_FOUND, f"process not found: {pid}")

    # Effects --------------------------------------------------------------------------------------

    def _perform(self, execution: Execution, command: c.Command) -> None:
        """Do what a committed command asks for."""
        if execution.ended and getattr(command, "seq", 0) not in execution.requests:
            return
        if isinstance(command, c.Call):
            self.activities.schedule(execution, command.seq)
        elif isinstance(command, c.CancelCall):
            self.activities.cancel(execution, command.seq)
        elif isinstance(command, c.StartTimer):
            due = execution.timers.get(command.seq)
            if due is not None:
                self.deadlines.add(due, execution.run, command.seq, self)
        elif not isinstance(command, c.CancelTimer):
            self.outbox.perform(execution, command)

    def resume(self, run: int) -> None:
        """Boot: bring a run back that has something pending."""
        try:
            execution = self.find_run(run)
        except BadRecordError as error:
            logger.error("run %d of %s is not resumed: %s", run, self.parts.host_id, error)
            return
        if execution is None:
            return
        self._perform_requests(execution)

    def resume_ended(self, run: int, row: RunRow, seqs: list[int]) -> None:
        """Boot: do what a run asked for in its last step and the crash left undone."""
        execution = Execution(run, row, f"{{{self.parts.host_id}|{row.workflow_id}}}")
        execution.ended = True
        for _, record in self.journal.history(run):
            if len(record) > 1 and record[1] in seqs and execution.is_request(record):
                execution.requests[record[1]] = record
        self._orphans[run] = execution
        self._perform_requests(execution)

    def _perform_requests(self, execution: Execution) -> None:
        for record in list(execution.requests.values()):
            self.outbox.perform(execution, records.command_of(execution.pid, record))


def _watchers_of(request: SpawnRequest) -> list[tuple[str, bool]]:
    """Who wants to hear of the end of what a request starts: (PID, whether by link)."""
    start = request.start
    monitors = [(pid, False) for pid in start.get("watchers", ())]
    return monitors + [(pid, True) for pid in start.get("links", ())]
