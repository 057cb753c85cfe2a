"""What running code asks for: the commands that come out of a step.

A command is one NamedTuple per kind; on the wire between Lua and Python it is the msgpack array of
the kind's name and its fields (prelude/emit.lua). `pid` is the slot that issued it, except for
Signal and Answer, where it is the slot that gets it; a Result has a number in its place. `seq`
numbers the requests of a slot; a command with a seq is answered by an input `answer` of the same
number. Payloads (`args`, `value`, `options`, `context`, `event`) stay encoded (runtime.codec) until
somebody needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgpack

#: Bits of Spawn.flags.
MONITORED, LINKED, EXEC = 1, 2, 4


class Call(NamedTuple):
    """Call a function; answered with its result."""

    pid: str
    seq: int
    target: str
    args: bytes
    options: bytes | None
    context: bytes | None


class CancelCall(NamedTuple):
    """The caller no longer wants the result of call `seq`."""

    pid: str
    seq: int


class StartTimer(NamedTuple):
    """Answer in `ns` nanoseconds."""

    pid: str
    seq: int
    ns: int


class CancelTimer(NamedTuple):
    """Timer `seq` need not answer any more."""

    pid: str
    seq: int


class Result(NamedTuple):
    """The end of call `number`, which a run has made (inputs.call); an encoded error when not
    ok."""

    number: int
    ok: bool
    value: bytes


class Send(NamedTuple):
    """Send a message; answered with true or an error."""

    pid: str
    seq: int
    dest: str
    topic: str
    args: bytes


class Spawn(NamedTuple):
    """Start a process or workflow; answered with its PID, or with EXEC with its result."""

    pid: str
    seq: int
    entry: str
    host: str
    args: bytes
    flags: int
    name: str | None
    options: bytes | None
    context: bytes | None
    messages: list[tuple[str, bytes]]


class Control(NamedTuple):
    """terminate, cancel, monitor, unmonitor, link or unlink another process."""

    pid: str
    seq: int
    verb: str
    dest: str
    reason: str | None


class Name(NamedTuple):
    """register, look up or unregister a name.

    `hold` is a register whose `target` is another slot than `pid`, said by the VM of the target.
    """

    pid: str
    seq: int
    verb: str
    name: str
    target: str | None


class Ask(NamedTuple):
    """Ask the Python half of a module (`store`, `env` …) for something; answered."""

    pid: str
    seq: int
    module: str
    verb: str
    args: bytes


class Tell(NamedTuple):
    """Tell the Python half of a module something; nobody waits, and no history keeps it."""

    pid: str
    module: str
    verb: str
    args: bytes


class Upgrade(NamedTuple):
    """The slot starts again as `entry`, under its PID.

    A process has done so in its VM by then, and what it had under way outside is to be dropped. A
    run has ended, and goes on as another; `messages` are those it had not received: topic,
    arguments, sender.
    """

    pid: str
    entry: str
    args: bytes
    messages: Sequence[tuple[str, bytes, str]]


class Value(NamedTuple):
    """A value that differs from run to run was drawn; a workflow's history keeps it."""

    pid: str
    kind: str
    value: bytes


class Attributes(NamedTuple):
    """A workflow sets search attributes and memo, each an encoded map or None; others stay."""

    pid: str
    search: bytes | None
    memo: bytes | None


class CheckedAttributes(NamedTuple):
    """The same of a slot that is `derived`, whose server may refuse them: it is answered with true,
    or with why none of them is set."""

    pid: str
    seq: int
    search: bytes
    memo: bytes | None


class Log(NamedTuple):
    """A line for the node's log; `entry` is the id of the code that wrote it."""

    pid: str
    entry: str
    level: str
    message: str
    fields: bytes | None


class Signal(NamedTuple):
    """An event for `pid`: an exit, a broken link."""

    pid: str
    event: bytes


class Answer(NamedTuple):
    """The answer to request `seq` of `pid`; `value` is an encoded error when not ok."""

    pid: str
    seq: int
    ok: bool
    value: bytes


class Ended(NamedTuple):
    """The slot's main returned or failed; `entry` is the id of its code, "" where nobody knows.

    `messages` are those that a run had not received, of what came since its start: topic,
    arguments, sender.
    """

    pid: str
    ok: bool
    value: bytes
    entry: str = ""
    messages: Sequence[tuple[str, bytes, str]] = ()


class DeadLetter(NamedTuple):
    """A message came for `pid`, which is not here."""

    pid: str
    topic: str
    sender: str


class Parcel(NamedTuple):
    """Messages for slots of one other VM, and what became of some of theirs: see
    `runtime.parcels`."""

    #: Of all the slots that get it: the beginning that their PIDs share.
    pid: str
    #: How many records.
    size: int
    records: bytes


class Place(NamedTuple):
    """Where in the user's source the next request is made; from a traced slot only."""

    pid: str
    source: str


Command = (
    Call | CancelCall | StartTimer | CancelTimer | Result | Send | Spawn | Control | Name | Ask
    | Tell | Value | Attributes | Log | Signal | Answer | Ended | Place | DeadLetter | Parcel
    | Upgrade
)  # fmt: skip

KINDS: dict[str, type[Any]] = {
    "call": Call,
    "cancel_call": CancelCall,
    "timer": StartTimer,
    "cancel_timer": CancelTimer,
    "result": Result,
    "send": Send,
    "spawn": Spawn,
    "control": Control,
    "name": Name,
    "ask": Ask,
    "tell": Tell,
    "value": Value,
    "attributes": Attributes,
    "checked_attributes": CheckedAttributes,
    "log": Log,
    "signal": Signal,
    "answer": Answer,
    "ended": Ended,
    "place": Place,
    "dead_letter": DeadLetter,
    "parcel": Parcel,
    "upgrade": Upgrade,
}


def encode_commands(wire: Sequence[Sequence[Any]]) -> bytes:
    """What a crossing that gives these commands gives, each as its kind's name and its fields."""
    return msgpack.packb(wire, unicode_errors="surrogateescape")  # type: ignore[no-any-return]


def decode_commands(data: bytes) -> list[Command]:
    """The commands of one crossing, in the order they were issued."""
    kinds, new = KINDS, tuple.__new__
    # Texts that are not UTF-8 keep their bytes through surrogates, so that no topic breaks a batch.
    wire = msgpack.unpackb(data, use_list=False, unicode_errors="surrogateescape")
    # As the class would do it, in a third of the time; no field may be missing.
    return [new(kinds[item[0]], item[1:]) for item in wire]
