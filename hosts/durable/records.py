"""Between the machine and the history: commands and inputs as records, and back.

A history is a sequence of input records, then a `step` that says how many of them it consumed and
at what workflow time, then a record of each command that the step gave. Records that are neither
(an attempt of an activity) explain the run to a reader and are passed over on replay.

    started {…}                                        message topic from args
    activity_completed|failed|timed_out|cancelled seq value
    timer_fired seq                                    message_answered|child_started|answered seq
    ok value child_ended seq ok value pid exec at                event value
    cancel_requested from reason
    step now consumed machine_version
    activity_scheduled seq target args options context activity_cancel_requested seq
    timer_started seq ns                               timer_cancelled seq
    message_sent seq dest topic args                   child_requested seq entry host args flags
    name … control_sent seq verb dest reason                  name_requested seq verb name target
    asked seq module verb args                         attributes search memo
    value kind value                                   completed|failed|cancelled value [next]
    terminated|timed_out value [next]                  continued entry args next

`next` is the number and the run id of the run that follows. A run that is ended asks for the end of
its children by `child_close seq verb pid run child_seq`, which is performed and answered as a
command is, but belongs to no step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final, NamedTuple

from hosts.exits import exit_event
from runtime import commands as c
from runtime import inputs
from runtime.codec import encode
from runtime.inputs import Input

Record = list[Any]

NIL: Final = encode(None)

#: Command class -> type of its record; the record's fields are the command's without the PID.
COMMAND_RECORDS: Final[dict[type[Any], str]] = {
    c.Call: "activity_scheduled",
    c.CancelCall: "activity_cancel_requested",
    c.StartTimer: "timer_started",
    c.CancelTimer: "timer_cancelled",
    c.Send: "message_sent",
    c.Spawn: "child_requested",
    c.Control: "control_sent",
    c.Name: "name_requested",
    c.Ask: "asked",
    c.Value: "value",
    c.Attributes: "attributes",
}
_COMMANDS: Final = {record: command for command, record in COMMAND_RECORDS.items()}
_KINDS: Final = {command: kind for kind, command in c.KINDS.items()}
_WIRE: Final = {record: _KINDS[command] for command, record in COMMAND_RECORDS.items()}
END_RECORDS: Final = frozenset(
    {"completed", "failed", "cancelled", "terminated", "timed_out", "continued"}
)


def issued_by(command: c.Command) -> Record | None:
    """The record of a command that a run goes on after, or None for one that leaves no trace (a
    log line), or is its end."""
    kind = COMMAND_RECORDS.get(type(command))
    if kind is None:
        return None
    record: Record = list(command)
    record[0] = kind
    return record


def record_of(command: c.Command) -> Record | None:
    """The record of any command, or None for one that leaves no trace."""
    issued = issued_by(command)
    if issued is not None:
        return issued
    if isinstance(command, c.Ended):
        return ["completed" if command.ok else "failed", command.value]
    if isinstance(command, c.Upgrade):
        return ["continued", command.entry, command.args]
    return None


def command_of(pid: str, record: Record) -> Any:
    """The command of a record, or None when it is of another kind."""
    command = _COMMANDS.get(record[0])
    return None if command is None else command(pid, *record[1:])


def wire_of(pid: str, record: Record) -> tuple[Any, ...]:
    """The command of a record as it comes out of the machine, before it is decoded; of another
    record, what never does."""
    return (_WIRE.get(record[0], ""), pid, *record[1:])


#: Number of a request, whether it went well, value or error.
Answer = tuple[int, bool, bytes]


def _failed(record: Record) -> Answer:
    return record[1], False, record[2]


def _answered(record: Record) -> Answer:
    return record[1], record[2], record[3]


#: Type of an input record that is the answer to a request -> that answer.
_ANSWERS: Final[dict[str, Callable[[Record], Answer]]] = {
    "activity_completed": lambda record: (record[1], True, record[2]),
    "activity_failed": _failed,
    "activity_timed_out": _failed,
    "activity_cancelled": _failed,
    "timer_fired": lambda record: (record[1], True, NIL),
    "message_answered": _answered,
    "child_started": _answered,
    "answered": _answered,
}


def answer_of(record: Record) -> Answer | None:
    """The answer that an input record is, None for one that is more than that."""
    answer = _ANSWERS.get(record[0])
    return None if answer is None else answer(record)


def _child_ended(pid: str, record: Record) -> Input:
    _, seq, ok, value, _, is_exec, _ = record
    if is_exec:
        return inputs.answer(pid, seq, ok, value)
    return inputs.signal(pid, ended_event(record))


def ended_event(record: Record) -> bytes:
    """The event EXIT of a `child_ended` record."""
    _, _, ok, value, child, _, at = record
    return exit_event(child, at, ok, value)


#: Type of an input record that is no answer -> the input that the machine gets.
_INPUTS: Final[dict[str, Callable[[str, Record], Input]]] = {
    "message": lambda pid, record: inputs.message(pid, record[1], record[2], record[3]),
    "child_ended": _child_ended,
    "event": lambda pid, record: inputs.signal(pid, record[1]),
    "cancel_requested": lambda pid, record: inputs.control(pid, "cancel", record[1], record[2]),
}


def is_input(record: Record) -> bool:
    """Whether a step consumes it."""
    return _PARTS.get(record[0]) in (_STARTED, _INPUT)


def input_of(pid: str, record: Record) -> Input:
    """The machine's input for an input record other than `started`."""
    answer = answer_of(record)
    return _INPUTS[record[0]](pid, record) if answer is None else inputs.answer(pid, *answer)


#: The part that a record has in its history.
_STEP, _STARTED, _INPUT, _COMMAND, _VALUE, _END, _IMPOSED = range(7)

#: Type of a record -> its part; of those that only explain the run none.
_PARTS: Final = {
    "step": _STEP,
    "started": _STARTED,
    **dict.fromkeys((*_ANSWERS, *_INPUTS), _INPUT),
    **dict.fromkeys(_COMMANDS, _COMMAND),
    "value": _VALUE,
    **dict.fromkeys(END_RECORDS, _END),
    # Ends that come from outside: no command of the code stands for them.
    "terminated": _IMPOSED,
    "timed_out": _IMPOSED,
}


class Step(NamedTuple):
    """One step of a history."""

    now: int
    inputs: list[Record]
    commands: list[Record]
    values: list[tuple[str, bytes]]  #: kind and value of each that it drew
    length: int  #: records before it
    size: int  #: bytes before it


class Steps:
    """Sorts the records of a history into steps, as they are read.

    Attributes:
        started: the content of its first record, once that was read.
        ended: the record of its end, or None, as of what was read so far.
        waiting: in the end, inputs that no step has consumed.
        length, size: in the end, records and their bytes.
    """

    def __init__(self) -> None:
        self.started: dict[str, Any] = {}
        self.waiting: list[Record] = []
        self.length = 0
        self.size = 0
        self.ended: Record | None = None

    def of(self, history: Iterable[Record]) -> Iterator[Step]:
        """The steps of a history, each as soon as its last command was read."""
        part_of, new = _PARTS.get, tuple.__new__
        waiting, length, size = self.waiting, self.length, self.size
        step: Step | None = None
        commands: list[Record] = []
        for record in history:
            part = part_of(record[0])
            if part == _STEP:
                if step is not None:
                    yield step
                now, consumed = record[1], record[2]
                if consumed == len(waiting):
                    taken, waiting = waiting, []
                else:
                    taken, waiting = waiting[:consumed], waiting[consumed:]
                commands = []
                # As the class would do it, in a third of the time.
                step = new(Step, (now, taken, commands, [], length, size))
            elif part == _COMMAND:
                commands.append(record)
            elif part == _INPUT:
                waiting.append(record)
            elif part == _VALUE and step is not None:
                commands.append(record)
                step.values.append((record[1], record[2]))
            elif part == _STARTED:
                self.started = record[1]
                waiting.append(record)
            elif part in (_END, _IMPOSED):
                self.ended = record
                if part == _END:
                    commands.append(record)
            length += 1
            size += 8  # and its payloads, as size_of has it
            for item in record:
                if type(item) is bytes:
                    size += len(item)
        self.waiting, self.length, self.size = waiting, length, size
        if step is not None:
            yield step


def size_of(records: Collection[Record]) -> int:
    """Bytes that count towards `workflow.history_size`: payloads, and 8 for the rest of each."""
    size = 8 * len(records)
    for record in records:
        for item in record:
            if type(item) is bytes:
                size += len(item)
    return size
