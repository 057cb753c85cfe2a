"""Rebuilding a run from its history: the replay, and the check that it gives the same commands."""

from __future__ import annotations

from typing import Any

from hosts.durable.execution import Execution
from hosts.durable.records import END_RECORDS, Record, Replay, input_of, record_of
from runtime import inputs
from runtime.commands import Command, Place
from runtime.inputs import Input, StartOptions


class Mismatch(Exception):
    """The code no longer gives the commands that the history has.

    Attributes:
        position: which command of the run differs, from 1.
        recorded: the record in the history, or None when the code gave more.
        attempted: the record of what the code did, or None when it gave less.
        source: "file:line" of what the code did, where that is known.
    """

    def __init__(self, position: int, recorded: Record | None, attempted: Record | None) -> None:
        super().__init__()
        self.position = position
        self.recorded = recorded
        self.attempted = attempted
        self.source = ""

    def __str__(self) -> str:
        place = f" at {self.source}" if self.source else ""
        return (
            f"command {self.position}: the history has {shown(self.recorded)}, "
            f"the code did {shown(self.attempted)}{place}"
        )


def start_input(pid: str, definition: str, started: dict[str, Any]) -> Input:
    """The machine's input for a `started` record."""
    options: StartOptions = {
        "durable": True,
        "seed": started["seed"],
        "info": started["info"],
        "parent": started["parent"],
    }
    if started.get("context") is not None:
        options["context"] = started["context"]
    if started.get("messages"):
        options["messages"] = [(topic, args) for topic, args in started["messages"]]
    return inputs.start(pid, definition, started["args"], options)


def machine_input(pid: str, definition: str, record: Record) -> Input:
    """The machine's input for any input record."""
    if record[0] == "started":
        return start_input(pid, definition, record[1])
    return input_of(pid, record)


def line_of(commands: list[Command], position: int) -> str:
    """The source line of a command, from the commands of a traced replay; "" when it has none."""
    source, count = "", 0
    for command in commands:
        if isinstance(command, Place):
            source = command.source
        elif record_of(command) is not None:
            count += 1
            if count == position:
                return source
            source = ""
    return ""


def replay_steps(execution: Execution, replay: Replay, *, traced: bool = False) -> list[Input]:
    """The whole history as one batch of steps; a traced one tells the source line of requests."""
    batch: list[Input] = []
    for step in replay.steps:
        values = [(record[1], record[2]) for record in step.commands if record[0] == "value"]
        step_inputs = [
            machine_input(execution.pid, execution.definition, record) for record in step.inputs
        ]
        if traced and not batch:
            # The first input of a history is its start; options come last in it.
            step_inputs[0][4]["traced"] = True
        batch.append(
            inputs.step(execution.pid, step.now, values, step_inputs, step.length, step.size)
        )
    return batch


def check(replay: Replay, commands: list[Command]) -> None:
    """Compare what a replay gave with what the history has. Raises Mismatch."""
    recorded = [record for step in replay.steps for record in step.commands]
    given = [record for command in commands if (record := record_of(command)) is not None]
    for position in range(max(len(recorded), len(given))):
        old = recorded[position] if position < len(recorded) else None
        new = given[position] if position < len(given) else None
        if old is None or new is None or not same(old, new):
            raise Mismatch(position + 1, old, new)


def same(recorded: Record, attempted: Record) -> bool:
    """Whether two command records stand for the same command: kind, target and arguments."""
    if recorded[0] in END_RECORDS:
        # Ends are compared by kind: the text of an error may name places that moved.
        return recorded[0] == attempted[0] or {recorded[0], attempted[0]} == {"failed", "cancelled"}
    return bool(plain(recorded) == plain(attempted))


def plain(value: Any) -> Any:
    """Tuples as lists: MessagePack has one kind of sequence."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def shown(record: Record | None) -> str:
    """A command record for a message: kind and target, without payloads."""
    if record is None:
        return "nothing more"
    texts = [str(item) for item in record[1:] if isinstance(item, (str, int))]
    return f"{record[0]} {' '.join(texts)}".strip()


def restore(execution: Execution, replay: Replay, attempts: dict[int, list[Any]]) -> None:
    """Bring the bookkeeping of an execution to the end of its history.

    Args:
        attempts: what the journal keeps of pending activities, by number.
    """
    for step in replay.steps:
        execution.now = step.now
        for record in step.inputs:
            execution.consume(record, None)
        for record in step.commands:
            execution.issue(record, None)
    for record in replay.waiting:
        execution.consume(record, None)
    execution.waiting = list(replay.waiting)
    execution.length, execution.size = replay.length, replay.size
    execution.context = replay.started.get("context")
    for seq, activity in execution.activities.items():
        if seq in attempts:
            activity.restore(attempts[seq])
