"""How runs begin: the first record of a history, and the timers that go with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hosts import attributes
from hosts.durable.execution import BEGIN, DEADLINE, Execution
from hosts.durable.randomness import new_seed, new_uuid
from hosts.durable.records import Record
from hosts.start_options import NO_RULES, Rules
from journal.records import RunRow
from journal.unit import Unit
from runtime.errors import Kind, PerdureError
from runtime.lua.machine import MACHINE_VERSION

if TYPE_CHECKING:
    from hosts.durable.shard import Shard


class Beginning(NamedTuple):
    """What a run begins with.

    Attributes:
        messages: [topic, arguments] from the parent, or [topic, arguments, from].
        carried: [topic, arguments, from], what the run before it had not received.
        parent: PID of who started it, "" for none.
        parent_run, parent_seq: the request of a run of this journal that it is, or 0.
        extra: what its row keeps from the start: `search`, `memo`, and `origin`, the request of a
            run of another journal that it is.
        begins: wall clock before which it takes no step, ns; 0: at once.
        children: open children that it takes over, as `Execution.inherited` has them.
    """

    workflow_id: str
    entry: str
    args: bytes
    context: bytes | None = None
    messages: Sequence[list[Any]] = ()
    parent: str = ""
    parent_run: int = 0
    parent_seq: int = 0
    extra: dict[str, Any] | None = None
    rules: Rules = NO_RULES
    begins: int = 0
    attempt: int = 1
    children: Sequence[list[Any]] = ()
    carried: Sequence[list[Any]] = ()


class Beginnings:
    """Makes the runs of a shard. Used on the shard's thread."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def make(self, given: Beginning, unit: Unit | None = None) -> tuple[Execution, Record]:
        """A new run, held in memory, and its `started` record.

        Args:
            unit: what its source goes to disk with; by default its own.

        Raises PerdureError NOT_FOUND when the entry does not exist any more.
        """
        shard = self._shard
        bundle = shard.code.bundle(given.entry)
        if bundle is None:
            raise PerdureError(Kind.NOT_FOUND, f"{given.entry} does not exist any more")
        now = shard.deadlines.wall()
        row = RunRow(
            given.workflow_id, new_uuid(), given.entry, shard.parts.host_id, "open", now,
            parent=given.parent_run, parent_seq=given.parent_seq, extra=given.extra,
        )  # fmt: skip
        started: dict[str, Any] = {
            "entry": given.entry,
            "args": given.args,
            "context": given.context,
            "messages": list(given.messages),
            "parent": given.parent,
            "seed": new_seed(),
            "source": bundle.digest,
            "machine": MACHINE_VERSION,
            "info": {
                "workflow_id": given.workflow_id,
                "run_id": row.run_id,
                "workflow_type": given.entry,
                "task_queue": shard.parts.task_queue,
                "namespace": given.entry.rpartition(":")[0],
                "attempt": given.attempt,
                "host": shard.parts.host_id,
            },
        }
        if given.rules != NO_RULES:
            started["rules"] = given.rules.written()
            if deadline := given.rules.deadline(max(given.begins, now)):
                started["deadline"] = deadline
        if given.begins:
            started["begins"] = given.begins
        if given.children:
            started["children"] = list(given.children)
        if given.carried:
            started["carried"] = list(given.carried)
        if given.extra:
            kept = ((name, given.extra.get(name)) for name in ("search", "memo"))
            started.update((name, value) for name, value in kept if value)
        number = shard.journal.next_run()
        execution = Execution(number, row, f"{{{shard.parts.host_id}|{given.workflow_id}}}")
        execution.begin(started)
        (unit or execution.unit).put_source(bundle.digest, bundle.blob)
        shard.runs.keep(execution)
        shard.tally["started"] += 1
        return execution, ["started", started]

    def index(self, execution: Execution, unit: Unit) -> None:
        """Put the index rows of a new run into the unit that journals its start; its own row comes
        with what becomes of it in that."""
        unit.put_id(execution.row.workflow_id, execution.run)
        if execution.row.extra:
            attributes.index(execution.run, {}, attributes.search_of(execution.row), unit)
        for seq, due in execution.timers.items():
            unit.put_timer(execution.run, seq, due)

    def arm(self, execution: Execution) -> None:
        """The start is on disk: wait for the run's own timers."""
        for seq in (BEGIN, DEADLINE):
            due = execution.timers.get(seq)
            if due is not None:
                self._shard.deadlines.add(due, execution.run, seq, self._shard)
