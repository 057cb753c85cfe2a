"""How runs end, and who hears of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from hosts.durable.execution import BEGIN, DEADLINE, Execution
from hosts.durable.flights import Flight
from hosts.durable.records import Record
from hosts.effects import log_failure
from hosts.throttle import Throttle
from journal.errors import JournalError
from journal.unit import Unit
from runtime import commands as c
from runtime import inputs
from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError
from runtime.inputs import ReplyTo
from runtime.routing.router import SpawnRequest

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

logger = logging.getLogger(__name__)


class Endings:
    """Ends the runs of a shard. Used on the shard's thread."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        #: Ended runs that asked others for something, until it is answered.
        self.orphans: dict[int, Execution] = {}
        #: By run: (PID, whether by link) of those who hear of its end.
        self._watchers: dict[int, list[tuple[str, bool]]] = {}
        self._outcomes: dict[int, list[ReplyTo]] = {}
        self._throttle = Throttle(shard.deadlines)

    def expect(self, run: int, request: SpawnRequest) -> None:
        """Who asked for a run hears of its end as the request says."""
        start = request.start
        if "outcome" in start:
            self.expect_result(run, start["outcome"])
        if "watchers" in start or "links" in start:
            watchers = self._watchers.setdefault(run, [])
            watchers += [(pid, False) for pid in start.get("watchers", ())]
            watchers += [(pid, True) for pid in start.get("links", ())]

    def expect_result(self, run: int, reply: ReplyTo) -> None:
        """`reply` gets the result of an open run."""
        self._outcomes.setdefault(run, []).append(reply)

    def refuse(self, error: PerdureError) -> None:
        """Nobody hears of the end of a run from here any more."""
        outcomes, self._outcomes = self._outcomes, {}
        for replies in outcomes.values():
            for reply in replies:
                self._shard.parts.router.refuse(reply, error)

    def watch(self, run: int, verb: str, pid: str) -> None:
        """monitor, unmonitor, link or unlink an open run."""
        watchers = self._watchers.setdefault(run, [])
        watcher = (pid, verb in ("link", "unlink"))
        if verb in ("monitor", "link") and watcher not in watchers:
            watchers.append(watcher)
        elif verb in ("unmonitor", "unlink") and watcher in watchers:
            watchers.remove(watcher)

    def forget_lost(self, refusal: PerdureError) -> None:
        """Runs were lost before they were on disk: who waits for the end of one hears of that."""
        for run in [run for run in self._outcomes if not self.is_on_disk(run)]:
            self.unwritten(run, refusal)

    def unwritten(self, run: int, refusal: PerdureError) -> None:
        """A run will not be on disk: nobody hears of its end."""
        self._watchers.pop(run, None)
        for reply in self._outcomes.pop(run, ()):
            self._shard.parts.router.refuse(reply, refusal)

    def is_on_disk(self, run: int) -> bool:
        """Whether the start of a run is."""
        try:
            return self._shard.journal.run(run) is not None
        except JournalError:  # it cannot be read: what is there will be seen when it can
            return True

    def parked_by(self, execution: Execution, end: c.Ended) -> str | None:
        """The failure that parks a run (`on_error: suspend`), or None."""
        if end.ok:
            return None
        on_error = self._shard.parts.deployed.option(execution.row.entry, "on_error")
        return str(decode(end.value)) if on_error == "suspend" else None

    def end(
        self,
        execution: Execution,
        command: c.Ended | c.Upgrade,
        unit: Unit,
        page: list[Record],
        consumed: list[Record],
    ) -> list[Callable[[], object]]:
        """The run's main returned, failed, or goes on as new: write it, but for the run's row;
        returns the effects.

        Args:
            page: records of its last step, to which those of its end are added.
            consumed: inputs of that step.
        """
        if isinstance(command, c.Upgrade):
            try:
                successor = self._shard.chain.upgraded(execution, command, unit, consumed)
            except PerdureError as error:
                failed: Record = ["failed", encode(error)]
                return self._end(execution, failed, unit, page, consumed, command.messages)
            end: Record = ["continued", command.entry, command.args]
            return self._finish(execution, end, successor, unit, page)
        status = "completed" if command.ok else "failed"
        if not command.ok and decode(command.value).kind == Kind.CANCELED:
            status = "cancelled"
        end = [status, command.value]
        return self._end(execution, end, unit, page, consumed, command.messages)

    def _end(
        self,
        execution: Execution,
        end: Record,
        unit: Unit,
        page: list[Record],
        consumed: list[Record],
        unread: Sequence[Sequence[Any]],
    ) -> list[Callable[[], object]]:
        """The run is over, and its children are told; what its rules say follows."""
        for record in self._shard.outbox.closes(execution):
            page.append(record)
            execution.issue(record, unit)
        successor = self._shard.chain.repeated(execution, end, unit, consumed, unread)
        return self._finish(execution, end, successor, unit, page)

    def _finish(
        self,
        execution: Execution,
        end: Record,
        successor: Execution | None,
        unit: Unit,
        page: list[Record],
    ) -> list[Callable[[], object]]:
        row, extra = execution.row, execution.row.extra
        if successor is not None:
            extra = {**(extra or {}), "next": successor.run}
            end = [*end, successor.run, successor.row.run_id]
        execution.row = row = row.ended(end[0], self._shard.deadlines.wall(), extra)
        page.append(end)
        execution.ended = True
        effects: list[Callable[[], object]] = []
        if execution.activities:
            running = list(execution.activities)
            effects.append(partial(self._shard.activities.cancel_run, execution.run, running))
        execution.clear(unit)
        if execution.requests:
            self.orphans[execution.run] = execution
        unit.put_ended(execution.run, row.ended_ns)
        effects += [
            partial(self._shard.outbox.close_child, execution, record)
            for record in page
            if record[0] == "child_close"
        ]
        if successor is not None:
            return [*effects, partial(self._followed, execution, successor)]
        if row.parent:
            unit.put_outbox(execution.run, 0, [row.parent, row.parent_seq])
        return [*effects, partial(self._ended, execution, end[0] == "completed", end[1])]

    def _followed(self, execution: Execution, successor: Execution) -> None:
        """The end and the successor are on disk: who waits for the end waits for its end."""
        self._shard.tally[execution.row.status] += 1
        self._shard.runs.forget(execution)
        self._shard.beginnings.arm(successor)
        for waiting in (self._outcomes, self._watchers):
            if execution.run in waiting:
                before = waiting.pop(execution.run)
                waiting[successor.run] = [*before, *waiting.get(successor.run, ())]
        # Not before: a run that always goes on as new would never let go of its shard.
        if successor.waiting and not successor.dormant and self._shard.runs.holds(successor):
            self._shard.wake(successor)

    def _ended(self, execution: Execution, ok: bool, value: bytes) -> None:
        """The end is on disk: tell everybody who waits for it."""
        row = execution.row
        self._shard.tally[row.status] += 1
        self._shard.runs.forget(execution)
        if row.status == "failed":
            log_failure(c.Ended(execution.pid, ok, value, row.entry), self._throttle)
        router = self._shard.parts.router
        router.names.release(execution.pid)
        for reply in self._outcomes.pop(execution.run, ()):
            router.answer(reply, value, ok)
        watchers = self._watchers.pop(execution.run, [])
        if watcher := (row.extra or {}).get("watcher"):
            watchers.append((watcher, False))
        for watcher, linked in dict.fromkeys(watchers):
            self._shard.outbox.send_exit(watcher, linked, execution.pid, row.ended_ns, ok, value)
        if row.parent:
            self._shard.outbox.tell_parent(execution.run, row, ok, value)

    def terminate(self, execution: Execution, reason: str, ack: ReplyTo | None = None) -> None:
        """End a run from outside, whatever it is doing."""
        current: Execution | None = execution
        if execution.starting:
            # Not written yet: it starts first, so that its history has a beginning.
            self._shard.advance([execution])
            current = self._shard.runs.find(execution.row.workflow_id)
        if current is None:
            self._shard.submit(Unit(), Flight(0, [(ack, encode(True))] if ack else []))
            return
        error = PerdureError(Kind.CANCELED, "process terminated", details={"reason": reason})
        self._stop(current, ["terminated", encode(error)], [], ack)

    def cancel(
        self, execution: Execution, sender: str, reason: str | None, ack: ReplyTo | None
    ) -> None:
        """Ask a run to end; one whose time to begin has not come has nothing to tidy, and ends."""
        asked: Record = ["cancel_requested", sender, reason]
        if BEGIN not in execution.timers:
            self._shard.touch(execution, asked, ack)
            return
        error = PerdureError(Kind.CANCELED, "canceled before it began", details={"reason": reason})
        self._stop(execution, ["cancelled", encode(error)], [asked], ack)

    def time_out(self, execution: Execution) -> None:
        """The time of a run, or that of all runs that go on for one another, is up."""
        due, rules = execution.timers[DEADLINE], execution.rules
        final = rules.execution_deadline is not None and due >= rules.execution_deadline
        which = "execution_timeout" if final else "run_timeout"
        text = f"{execution.pid} did not end within its {which}"
        logger.warning("%s", text)
        error = PerdureError(Kind.TIMEOUT, text)
        self._stop(execution, ["timed_out", encode(error)], [], None)

    def _stop(
        self, execution: Execution, end: Record, because: list[Record], ack: ReplyTo | None
    ) -> None:
        unit = execution.unit
        # What was acknowledged belongs into the history, though nobody will read it.
        fresh = execution.fresh
        page: list[Record] = [*fresh, *because]
        effects = execution.effects
        consumed = [*execution.waiting, *fresh]
        if execution.starting:
            self._shard.beginnings.index(execution, unit)
        unread = self._unread(execution, consumed) if end[0] == "timed_out" else []
        effects += self._end(execution, end, unit, page, consumed, unread)
        unit.put_run(execution.run, execution.row)
        unit.del_ready(execution.run)
        unit.append(execution.run, page)
        self._shard.let_be(execution)
        acks = execution.acks + ([(ack, encode(True))] if ack else [])
        execution.taken()
        self._shard.machine.step([inputs.drop(execution.pid)], 0)
        self._shard.submit(unit, Flight(execution.run, acks, effects, fresh))

    def _unread(self, execution: Execution, consumed: list[Record]) -> list[Sequence[Any]]:
        """The messages that a run which is ended has not received: in its slot, and not in it."""
        if (execution.rules.retry, execution.rules.cron) == (None, None):
            return []
        terminate = inputs.control(execution.pid, "terminate", "", None)
        _, commands = self._shard.machine.step([terminate], 0)
        found: list[Sequence[Any]] = [
            message
            for command in commands
            if isinstance(command, c.Ended) and command.pid == execution.pid
            for message in command.messages
        ]
        for record in consumed:
            if record[0] == "message":
                _, topic, sender, args, *_ = record
                found.append([topic, args, sender])
        return found
