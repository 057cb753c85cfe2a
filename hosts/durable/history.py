"""Steps of a history for the machine, and the check that it gives the same commands again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Final

from hosts.durable.execution import Execution
from hosts.durable.records import (
    END_RECORDS,
    Record,
    Step,
    answer_of,
    input_of,
    record_of,
    wire_of,
)
from runtime import inputs
from runtime.commands import Command, decode_commands, encode_commands
from runtime.inputs import Answered, Input, Packed, StartOptions


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

    @property
    def shown_recorded(self) -> str:
        """What the history has, for a person."""
        return shown(self.recorded)

    @property
    def shown_attempted(self) -> str:
        """What the code did, for a person."""
        return shown(self.attempted)

    def __str__(self) -> str:
        place = f" at {self.source}" if self.source else ""
        return (
            f"command {self.position}: the history has {self.shown_recorded}, "
            f"the code did {self.shown_attempted}{place}"
        )


#: Options of a start that have no place in `inputs.begin`.
_RARE: Final = frozenset({"messages", "carried", "step_limit"})


def start_input(pid: str, definition: str, started: dict[str, Any]) -> Input:
    """The machine's input for a `started` record."""
    options: StartOptions = {
        "durable": True,
        "seed": started["seed"],
        "info": started["info"],
        "parent": started["parent"],
        "machine": started["machine"],
    }
    if started.get("context") is not None:
        options["context"] = started["context"]
    if started.get("messages"):
        options["messages"] = [tuple(message) for message in started["messages"]]
    if started.get("carried"):
        options["carried"] = [tuple(message) for message in started["carried"]]
    if "task_timeout" in started.get("rules", ()):
        options["step_limit"] = started["rules"]["task_timeout"]
    return inputs.start(pid, definition, started["args"], options)


def _machine_inputs(execution: Execution, consumed: list[Record]) -> list[Input]:
    pid = execution.pid
    if consumed and consumed[0][0] == "started":
        begun = start_input(pid, execution.definition, consumed[0][1])
        return [begun, *(input_of(pid, record) for record in consumed[1:])]
    return [input_of(pid, record) for record in consumed]


def live_step(execution: Execution) -> Input | Packed:
    """The step that takes what a run has not consumed."""
    consumed = execution.fresh
    if execution.waiting:
        consumed = execution.waiting + consumed
    pid, now, length, size = execution.pid, execution.now, execution.length, execution.size
    if len(consumed) == 1:
        answer = answer_of(consumed[0])
        if answer is not None:
            seq, ok, value = answer
            return inputs.answered(pid, now, seq, ok, value, length, size)
        if consumed[0][0] == "started":
            _, _, entry, args, options = start_input(pid, execution.definition, consumed[0][1])
            if options.keys().isdisjoint(_RARE):
                return inputs.begin(pid, now, entry, args, options, length, size)
    return inputs.step(pid, now, None, _machine_inputs(execution, consumed), length, size)


def step_inputs(execution: Execution, steps: Sequence[Step]) -> list[Input | Packed]:
    """Steps of a history as a batch for the machine."""
    pid = execution.pid
    batch: list[Input | Packed] = []
    answered: list[Answered] = []  # steps behind those in the batch

    def flush() -> None:
        if answered:
            batch.append(inputs.replayed(pid, answered))
            answered.clear()

    for now, consumed, _, values, length, size in steps:
        answer = answer_of(consumed[0]) if len(consumed) == 1 and not values else None
        if answer is not None:
            seq, ok, value = answer
            answered.append((ok, seq, now, length, size, value))
        else:
            flush()
            given = _machine_inputs(execution, consumed)
            batch.append(inputs.step(pid, now, values, given, length, size))
    flush()
    return batch


def check(pid: str, steps: Sequence[Step], commands: bytes, before: int) -> int:
    """Compare what a replay of steps gave with what the history has.

    Args:
        commands: of `Machine.exchange`.
        before: how many commands the run gave before these steps.

    Returns how many it gave with them. Raises Mismatch.
    """
    recorded = [record for step in steps for record in step.commands]
    # Most often they are the same byte for byte, and nothing has to be decoded.
    if commands != encode_commands([wire_of(pid, record) for record in recorded]):
        _check_each(recorded, decode_commands(commands), before)
    return before + len(recorded)


def _check_each(recorded: Sequence[Record], commands: Sequence[Command], before: int) -> None:
    given = [record for command in commands if (record := record_of(command)) is not None]
    for position, (old, new) in enumerate(zip_longest(recorded, given), before + 1):
        if old is None or new is None or not same(old, new):
            raise Mismatch(position, old, new)


def same(recorded: Record, attempted: Record) -> bool:
    """Whether two command records stand for the same command: kind, target and arguments."""
    if recorded[0] == attempted[0] == "continued":
        return bool(recorded[1:3] == attempted[1:3])
    if recorded[0] in END_RECORDS:
        # Ends are compared by kind: the text of an error may name places that moved.
        return recorded[0] == attempted[0] or {recorded[0], attempted[0]} == {"failed", "cancelled"}
    return recorded == attempted or bool(plain(recorded) == plain(attempted))


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
