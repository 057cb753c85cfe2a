"""How runs end, and who hears of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from hosts.durable.execution import Execution
from hosts.durable.flight import Flight
from hosts.durable.records import Record
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
        #: Ended runs that asked for something in their last step, until it is answered.
        self.orphans: dict[int, Execution] = {}
        #: By run: (PID, whether by link) of those who hear of its end.
        self._watchers: dict[int, list[tuple[str, bool]]] = {}
        self._outcomes: dict[int, list[ReplyTo]] = {}

    def expect(self, run: int, request: SpawnRequest) -> None:
        """Who asked for a run hears of its end as the request says."""
        start = request.start
        if "outcome" in start:
            self.expect_result(run, start["outcome"])
        watchers = [(pid, False) for pid in start.get("watchers", ())]
        watchers += [(pid, True) for pid in start.get("links", ())]
        if watchers:
            self._watchers.setdefault(run, []).extend(watchers)

    def expect_result(self, run: int, reply: ReplyTo) -> None:
        """`reply` gets the result of an open run."""
        self._outcomes.setdefault(run, []).append(reply)

    def watch(self, run: int, verb: str, pid: str) -> None:
        """monitor, unmonitor, link or unlink an open run."""
        watchers = self._watchers.setdefault(run, [])
        watcher = (pid, verb in ("link", "unlink"))
        if verb in ("monitor", "link") and watcher not in watchers:
            watchers.append(watcher)
        elif verb in ("unmonitor", "unlink") and watcher in watchers:
            watchers.remove(watcher)

    def parked_by(self, execution: Execution, commands: list[c.Command]) -> str | None:
        """The failure in a step that parks its run (`on_error: suspend`), or None."""
        if self._shard.parts.option(execution.row.entry, "on_error") == "suspend":
            for command in commands:
                if isinstance(command, c.Ended) and not command.ok:
                    return str(decode(command.value))
        return None

    def end(
        self, execution: Execution, command: c.Ended, unit: Unit, page: list[Record]
    ) -> list[Callable[[], None]]:
        """The run's main returned or failed: write its end; returns the effects."""
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
        row = execution.row._replace(status=status, ended_ns=self._shard.deadlines.wall())
        execution.row = row
        execution.ended = True
        running = list(execution.activities)
        execution.clear(unit, page)
        if execution.requests:
            self.orphans[execution.run] = execution
        unit.put_run(execution.run, row)
        unit.put_ended(execution.run, row.ended_ns)
        if row.parent:
            unit.put_outbox(execution.run, 0, [row.parent, row.parent_seq])
        return [
            partial(self._shard.activities.cancel_run, execution.run, running),
            partial(self._ended, execution, ok, value),
        ]

    def _ended(self, execution: Execution, ok: bool, value: bytes) -> None:
        """The end is on disk: tell everybody who waits for it."""
        row = execution.row
        self._shard.tally[row.status] += 1
        self._shard.runs.forget(execution)
        router = self._shard.parts.router
        router.names.release(execution.pid)
        for reply in self._outcomes.pop(execution.run, ()):
            router.answer(reply, value, ok)
        for watcher, linked in self._watchers.pop(execution.run, ()):
            self._shard.outbox.send_exit(watcher, linked, execution.pid, row.ended_ns, ok, value)
        if row.parent:
            self._shard.outbox.tell_parent(execution.run, row, ok, value)

    def terminate(self, execution: Execution, reason: str, ack: ReplyTo | None = None) -> None:
        """End a run from outside, whatever it is doing."""
        error = PerdureError(Kind.CANCELED, "process terminated", details={"reason": reason})
        if execution.fresh and execution.fresh[0][0] == "started":
            # Not written yet: it starts first, so that its history has a beginning.
            self._shard.advance([execution])
            if execution.ended:
                self._shard.submit(Unit(), Flight(0, [(ack, encode(True))] if ack else []))
                return
        unit = execution.unit
        # What was acknowledged belongs into the history, though nobody will read it.
        page: list[Record] = list(execution.fresh)
        effects = self._shard.arrivals.on_disk(page)
        effects += self._finish(execution, "terminated", False, encode(error), unit, page)
        unit.append(execution.run, page)
        self._shard.let_be(execution)
        acks = execution.acks + ([(ack, encode(True))] if ack else [])
        execution.taken()
        self._shard.machine.step([inputs.drop(execution.pid)], 0)
        self._shard.submit(unit, Flight(execution.run, acks, effects))
