"""What comes to a run from outside: signals, control, answers, due timers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from hosts.durable import keys, records
from hosts.durable.execution import DEADLINE, is_exec
from hosts.durable.flights import Flight
from hosts.durable.outbox import RUN_UNIT
from hosts.durable.records import Record
from journal.unit import Unit
from runtime.codec import decode, encode
from runtime.errors import PerdureError
from runtime.inputs import ReplyTo
from runtime.routing.router import Origin

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

#: How long a parent that has ended waits for the host of its child, ns.
_AGAIN_NS: Final = 1_000_000_000


class Arrivals:
    """Brings inputs to the runs of a shard. Used on the shard's thread."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        #: Idempotency keys that are on their way to the disk.
        self.keys: set[str] = set()

    def message(
        self,
        workflow_id: str,
        topic: str,
        sender: str,
        args: bytes,
        ack: ReplyTo | None,
        key: str | Origin | None,
    ) -> None:
        """A signal."""
        execution = self._shard.runs.find(workflow_id)
        journal = self._shard.journal
        known = None if key is None else keys.of_message(journal.journal_id, workflow_id, key)
        if known is not None and (known in self.keys or journal.dedupe(known.encode())):
            self._shard.submit(Unit(), Flight(0, [(ack, encode(True))] if ack else []))
            return
        if execution is None:
            router = self._shard.parts.router
            router.dead_letters.add(f"{{{self._shard.parts.host_id}|{workflow_id}}}", topic, sender)
            router.refuse(ack, self._shard.runs.gone(workflow_id))
            return
        error = self._shard.parts.payload_limit.refusal(f"the message {topic}", args)
        if error is not None:
            self._shard.parts.router.refuse(ack, error)
            return
        record: Record = ["message", topic, sender, args]
        if known is not None:
            self.keys.add(known)
            execution.effects.append(partial(self.keys.discard, known))
            record.append(known)
        self._shard.touch(execution, record, ack)

    def forget(self, records: Sequence[Record]) -> None:
        """Inputs are not written after all: the keys of messages among them are free again."""
        self.keys.difference_update(
            record[4] for record in records if record[0] == "message" and len(record) > 4
        )

    def control(
        self,
        workflow_id: str,
        verb: str,
        sender: str,
        reason: str | None,
        ack: ReplyTo | None,
        origin: str | Origin | None = None,
    ) -> None:
        """terminate, cancel, monitor, unmonitor, link, unlink, probe.

        Args:
            origin: the request that the run must have come from, when its parent is the sender.
        """
        self._shard.parts.payload_limit.check(f"the reason to {verb}", encode(reason))
        watching = verb in ("monitor", "unmonitor", "link", "unlink")
        runs = self._shard.runs
        look_up = runs.unfinished if watching else runs.to_end if verb == "terminate" else runs.find
        # A run that is looked up to be ended is in memory without its code, so it has to be.
        meant = origin is None or self._shard.starts.came_from(workflow_id, origin)
        execution = look_up(workflow_id) if meant else None
        router = self._shard.parts.router
        if verb in ("monitor", "link") and execution is None:
            end = self._shard.runs.end_of(workflow_id)
            if end is None:
                router.refuse(ack, self._shard.runs.gone(workflow_id))
                return
            router.answer(ack)
            pid = f"{{{self._shard.parts.host_id}|{workflow_id}}}"
            self._shard.outbox.send_exit(
                sender, verb == "link", pid, self._shard.deadlines.wall(), *end
            )
            return
        if execution is None:
            router.refuse(ack, self._shard.runs.gone(workflow_id))
        elif verb == "terminate":
            self._shard.endings.terminate(execution, reason or "", ack)
        elif verb in ("cancel", "stop"):
            self._shard.endings.cancel(execution, sender, reason, ack)
        else:
            self._shard.endings.watch(execution.run, verb, sender)
            router.answer(ack)

    def named(self, workflow_id: str, name: str, ack: ReplyTo | None) -> None:
        """A process gives an open workflow a name."""
        router = self._shard.parts.router
        execution = self._shard.runs.find(workflow_id)
        if execution is None:
            router.refuse(ack, self._shard.runs.gone(workflow_id))
            return
        try:
            router.names.register(name, execution.pid)
        except PerdureError as error:
            router.refuse(ack, error)
        else:
            router.answer(ack)

    def answered(self, number: int, ok: bool, value: bytes) -> None:
        """The answer to something a run asked of the node."""
        if not ok and self._shard.parts.router.closing:
            return  # the next boot asks again
        run, seq = divmod(number, RUN_UNIT)
        execution = self._shard.runs.find_run(run)
        request = execution.requests.get(seq) if execution is not None else None
        if execution is not None and request is not None:
            ok, value = self._shard.parts.payload_limit.of_result(str(request[2]), ok, value)
            self._shard.touch(execution, self._shard.outbox.answer_record(request, seq, ok, value))
        elif run in self._shard.endings.orphans:
            orphan = self._shard.endings.orphans[run]
            closing = orphan.requests.get(seq, [""])
            if closing[0] == "child_close" and not ok and decode(value).retryable:
                # The child's host does not run at the moment.
                again = partial(self._shard.outbox.close_child, orphan, closing)
                post = partial(self._shard.post, again)
                self._shard.deadlines.after(_AGAIN_NS, post, background=True)
                return
            unit = Unit()
            orphan.settle(seq, unit)
            if not orphan.requests:
                del self._shard.endings.orphans[run]
            self._shard.submit(unit)

    def event(self, workflow_id: str, event: bytes) -> None:
        """An event for the run, of a process that it started."""
        execution = self._shard.runs.find(workflow_id)
        if execution is not None:
            error = self._shard.parts.payload_limit.refusal("the result in an event", event)
            if error is not None:
                event = encode({**decode(event), "result": {"error": error}})
            self._shard.touch(execution, ["event", event])

    def child_ended(
        self, run: int, seq: int, child: int, pid: str, ok: bool, value: bytes, at: int
    ) -> None:
        """A child run ended; its word to its parent is settled with the parent's record of it."""
        execution = self._shard.runs.find_run(run)
        request = execution.requests.get(seq) if execution is not None else None
        if execution is not None and (request is not None or seq in execution.children):
            by_exec = request is not None and is_exec(request)
            if request is not None and not by_exec:
                # After a crash its end can be told before its start is.
                self._shard.touch(execution, ["child_started", seq, True, encode(pid)])
            self._shard.touch(execution, ["child_ended", seq, ok, value, pid, by_exec, at])
            execution.unit.del_outbox(child, 0)
        elif (heir := self._shard.chain.heir(run)) is not None and heir.run != run:
            # Its parent goes on as new.
            ended: Record = ["child_ended", seq, ok, value, pid, False, at]
            self._shard.touch(heir, ["event", records.ended_event(ended)])
            heir.unit.del_outbox(child, 0)
        else:
            unit = Unit()
            unit.del_outbox(child, 0)
            self._shard.submit(unit)

    def timer_due(self, run: int, seq: int) -> None:
        """A durable timer fell due."""
        execution = self._shard.runs.find_run(run)
        if execution is not None and seq == DEADLINE:
            self._shard.endings.time_out(execution)
        elif execution is not None:
            self._shard.touch(execution, ["timer_fired", seq])

    def outcome(self, workflow_id: str, reply: ReplyTo) -> None:
        """Answer with the result of the current run, now or when it ends."""
        execution = self._shard.runs.unfinished(workflow_id)
        if execution is not None:
            self._shard.endings.expect_result(execution.run, reply)
            return
        end = self._shard.runs.end_of(workflow_id)
        if end is None:
            self._shard.parts.router.refuse(reply, self._shard.runs.gone(workflow_id))
        else:
            self._shard.parts.router.answer(reply, end[1], end[0])
