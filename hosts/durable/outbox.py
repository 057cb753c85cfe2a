"""What a run asked of the rest of the node: performed after the commit, answered by an input
record."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from hosts import effects
from hosts.activity_options import option
from hosts.durable import keys, records
from hosts.durable.execution import Child, Execution, is_exec
from hosts.durable.records import Record
from hosts.exits import exit_event
from hosts.start_options import close_policy
from journal.records import RunRow
from runtime import commands as c
from runtime import inputs
from runtime.codec import decode
from runtime.errors import PerdureError
from runtime.inputs import Input
from runtime.routing.router import SpawnRequest

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

#: Requests for the end of children are numbered from here, above those of any command.
CLOSES: Final = 1 << 31
#: Answers name the run as well as the request, run * RUN_UNIT + seq: runs of one workflow id share
#: a PID.
RUN_UNIT: Final = 1 << 32

_ANSWER_RECORDS = {"message_sent": "message_answered", "child_requested": "child_started"}

Request = TypeVar("Request", c.Send, c.Spawn, c.Control, c.Name, c.Ask)


def _of_run(command: Request, run: int) -> Request:
    """The command with the number that its answer will have."""
    return command._replace(seq=run * RUN_UNIT + command.seq)


class Outbox:
    """Performs the requests of a shard's runs.

    After a crash a request is performed again. Runs of the same journal notice: messages carry a
    key, and a child knows which request it came from.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        #: While the node starts: run -> what waits for whom it is for, and what came behind that.
        self._early: dict[int, list[tuple[str | None, Callable[[], None]]]] = {}

    def perform(self, execution: Execution, command: c.Command) -> None:
        """Do what a committed command asks for."""
        dest: str | None = None
        if isinstance(command, c.Spawn):
            dest = command.host
        elif isinstance(command, (c.Send, c.Control)):
            dest = command.dest
        self._in_time(execution.run, dest, partial(self._perform, execution, command))

    def _in_time(self, run: int, dest: str | None, work: Callable[[], None]) -> None:
        """Do some work for a run, once that is there which it is for, and behind what waits."""
        early, router = self._early.get(run), self._shard.parts.router
        if early is not None:
            early.append((dest, work))
        elif (
            router.is_starting
            and dest is not None
            and router.waits_for(dest, partial(self._shard.post, partial(self._again, run)))
        ):
            self._early[run] = [(dest, work)]
        else:
            work()

    def _again(self, run: int) -> None:
        for dest, work in self._early.pop(run):
            self._in_time(run, dest, work)

    def _perform(self, execution: Execution, command: c.Command) -> None:
        router = self._shard.parts.router
        run = execution.run
        if isinstance(command, c.Send):
            origin = (self._shard.journal.journal_id, run, command.seq)
            effects.send(router, _of_run(command, run), origin)
        elif isinstance(command, c.Spawn):
            request = effects.spawn_request(_of_run(command, run))
            request.parent = (self._shard.journal.journal_id, run, command.seq)
            router.spawn(request)
        elif isinstance(command, c.Control):
            effects.control(router, _of_run(command, run))
        elif isinstance(command, c.Name):
            effects.name(router, _of_run(command, run))
        elif isinstance(command, c.Ask):
            effects.ask(router, _of_run(command, run))

    def perform_record(self, execution: Execution, record: Record) -> None:
        """Do what a record of a command, or of a child's end, asks for."""
        if record[0] == "child_close":
            self.close_child(execution, record)
        else:
            self.perform(execution, records.command_of(execution.pid, record))

    def open_children(self, execution: Execution) -> list[Child]:
        """The children of a run that have not ended, as far as it knows."""
        children = [*execution.inherited.values(), *execution.children.values()]
        for record in execution.requests.values():
            if record[0] == "child_requested":
                _, seq, entry, host, _, _, name, options, _, _ = record
                request = SpawnRequest(entry, host, b"", {}, name)
                request.parent = (self._shard.journal.journal_id, execution.run, seq)
                chosen = _chosen_id(options)
                served = self._shard.parts.router.served_by(host)
                workflow_id = chosen or name or keys.new_workflow_id("", request)
                pid = f"{{{served.id if served is not None else host}|{workflow_id}}}"
                children.append(Child(pid, entry, options, execution.run, seq))
        return children

    def closes(self, execution: Execution) -> list[Record]:
        """The records that ask for the end of the children of a run that ends."""
        found: list[Record] = []
        for child in self.open_children(execution):
            definition = self._shard.parts.deployed.definitions.get(child.entry)
            if definition is not None and definition.kind != "workflow.lua":
                continue
            policy = _close_policy(child.options)
            if policy != "abandon":
                verb = "terminate" if policy == "terminate" else "cancel"
                number = CLOSES + len(found)
                found.append(["child_close", number, verb, child.pid, child.run, child.seq])
        return found

    def close_child(self, execution: Execution, record: Record) -> None:
        """Ask a child to end; only if it is still the one that the request has started."""
        _, number, verb, pid, run, seq = record
        reply = (execution.pid, execution.run * RUN_UNIT + number)
        item = inputs.control(pid, verb, execution.pid, "its parent has ended", reply)
        item.append((self._shard.journal.journal_id, run, seq))
        self._in_time(execution.run, pid, partial(self._shard.parts.router.deliver, item))

    def log(self, execution: Execution, command: c.Log) -> None:
        """A line for the log; it leaves no trace in the history."""
        effects.log(command)

    def tell(self, execution: Execution, command: c.Tell) -> None:
        """Tell a module what leaves no trace in the history."""
        effects.tell(self._shard.parts.router, command)

    def answer_record(self, request: Record, seq: int, ok: bool, value: bytes) -> Record:
        """The record of the answer to a request."""
        if request[0] == "child_requested" and is_exec(request):
            at = self._shard.deadlines.wall()
            return ["child_ended", seq, ok, value, "", True, at]
        return [_ANSWER_RECORDS.get(request[0], "answered"), seq, ok, value]

    def send_exit(
        self, watcher: str, linked: bool, pid: str, at: int, ok: bool, value: bytes
    ) -> None:
        """Tell a watcher how a run ended; a link breaks when the end is an error."""
        router = self._shard.parts.router
        event = inputs.signal(watcher, exit_event(pid, at, ok, value, linked))
        if not router.waits_for(watcher, partial(router.deliver, event)):
            router.deliver(event)

    def tell_parent(self, child: int, row: RunRow, ok: bool, value: bytes) -> None:
        """Tell the parent run how its child ended, through the parent's host."""
        parent = self._shard.journal.run(row.parent)
        if parent is not None:
            self._shard.parts.router.deliver(child_ended(parent, child, row, ok, value))


def _chosen_id(options: bytes | None) -> str | None:
    given = None if options is None else decode(options)
    return option(given, "workflow.id") if isinstance(given, dict) else None


def _close_policy(options: bytes | None) -> str:
    given = None if options is None else decode(options)
    try:
        return close_policy(given if isinstance(given, dict) else {})
    except PerdureError:
        return close_policy({})  # such a request was refused


def child_ended(parent: RunRow, child: int, row: RunRow, ok: bool, value: bytes) -> Input:
    """What the host of a parent run is told when a child has ended: see `Shard.child_ended`."""
    pid = f"{{{row.host}|{row.workflow_id}}}"
    told = f"{{{parent.host}|{parent.workflow_id}}}"
    return [
        "child_ended", told, row.parent, row.parent_seq, child, pid, ok, value, row.ended_ns
    ]  # fmt: skip
