"""What reaches running code: the inputs of a step.

An input is a plain list `[kind, pid, …]`, the msgpack array that prelude/boundary.lua applies. The
most frequent, a call and a step that takes one answer, are bytes of a fixed layout, which Lua reads
in a fifth of the time. These functions are the only place that knows the layouts.
Payloads are encoded values (runtime.codec).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypedDict

import msgpack

Input = list[Any]
#: An input of a fixed layout. Its first byte is one of those below.
Packed = bytes
#: A step of a history that took one answer and drew no values: ok, seq, now, length, size, value;
#: see `answer` and `step`.
Answered = tuple[bool, int, int, int, int, bytes]
#: Where an answer goes: a PID and the number of its request.
ReplyTo = tuple[str, int]


_CALL: Final = 1  #: number, then entry, arguments, context
#: A step that takes one answer: ok, seq, time, length, size, then PID and value.
_ANSWERED: Final = 2
#: PID, then steps of a history that take one answer each: ok, seq, time, length, size, value.
_REPLAYED: Final = 3

_CALL_HEAD = struct.Struct("<BQI")
_ANSWERED_HEAD = struct.Struct("<B?QqQQI")
_REPLAYED_HEAD = struct.Struct("<BI")
_REPLAYED_STEP = struct.Struct("<?QqQQI")
_LENGTH = struct.Struct("<I")


class StartOptions(TypedDict, total=False):
    """How a slot starts. A missing key means none."""

    process: bool  #: counts as a process (not a function call)
    parent: str  #: PID of who spawned it
    reply: ReplyTo  #: is answered with the PID once the slot is in place
    #: is answered with the PID once its first step has ended, unless it ended with it
    up: ReplyTo
    outcome: ReplyTo  #: is answered with the result when it ends
    watchers: list[str]  #: PIDs that get its EXIT
    links: list[str]  #: PIDs it is linked to
    named: bool  #: holds a name, so its exit is announced through the host
    context: bytes  #: encoded map of inherited values
    #: topic, encoded arguments and, unless it is the parent, the sender; delivered before it runs
    messages: Sequence[tuple[Any, ...]]
    #: topic, encoded arguments, sender: what the run before this one had not received
    carried: Sequence[tuple[Any, ...]]
    terminal: list[str]  #: command-line arguments; makes the module io work
    durable: bool  #: a workflow run; needs seed (32 bytes) and info
    machine: int  #: version of the machine that a durable one began on; by default this one's
    step_limit: int  #: ns of wall clock that a live step of a durable one may take
    #: what differs from run to run derives from the seed, and from `patched` of its machine; no
    #: Value tells of it
    derived: bool
    traced: bool  #: tells the source line of each of its requests
    seed: bytes
    info: dict[str, Any]


def start(pid: str | None, entry: str, args: bytes, options: StartOptions) -> Input:
    """Start a slot; without a PID the machine gives it one."""
    return ["start", pid, entry, args, options]


def call(number: int, entry: str, args: bytes, context: bytes) -> Packed:
    """Call a function for a run; its end is the command Result of that number."""
    name, size = entry.encode(), _LENGTH.pack
    head = _CALL_HEAD.pack(_CALL, number, len(name))
    return b"".join((head, name, size(len(args)), args, size(len(context)), context))


def end_call(number: int, verb: str, reason: str | None = None) -> Input:
    """cancel or abandon the call of that number, if it is under way."""
    return ["end_call", number, verb, reason]


def message(pid: str, topic: str, sender: str, args: bytes, reply: ReplyTo | None = None) -> Input:
    """A message; the reply says whether it found its process."""
    if reply is None:
        return ["message", pid, topic, sender, args]
    return ["message", pid, topic, sender, args, reply[0], reply[1]]


def parcel(prefix: str, size: int, records: bytes) -> Input:
    """Messages and answers from another VM, as that VM wrote them (runtime.parcels)."""
    return ["parcel", prefix, size, records]


def answer(pid: str, seq: int, ok: bool, value: bytes) -> Input:
    """The answer to request `seq`; an encoded error when not ok."""
    return ["answer", pid, seq, ok, value]


def signal(pid: str, event: bytes) -> Input:
    """An event: an exit, a broken link."""
    return ["signal", pid, event]


def control(
    pid: str, verb: str, sender: str, reason: str | None, reply: ReplyTo | None = None
) -> Input:
    """terminate, cancel, monitor, unmonitor, link or unlink on behalf of `sender`.

    abandon: nobody wants the result any more, `reason` says why. Whoever listens to its events
    gets a CANCEL and some seconds, anybody else ends at once.
    """
    if reply is None:
        return ["control", pid, verb, sender, reason]
    return ["control", pid, verb, sender, reason, reply[0], reply[1]]


def events(pid: str, subscription: int, batch: list[bytes], dropped: int) -> Input:
    """Events of the bus, each an encoded map; `dropped` counts all that were lost before them."""
    return ["events", pid, subscription, batch, dropped]


def name(pid: str, name: str, reply: ReplyTo) -> Input:
    """Somebody else gives the slot a name; it says so by a command Name, `hold`."""
    return ["name", pid, name, None, None, reply[0], reply[1]]


def define(
    changed: Mapping[str, Mapping[str, Any]], gone: Sequence[str], reply: ReplyTo | None = None
) -> Input:
    """Definitions, as maps, to add or replace, and ids of those to forget.

    The machine runs what starts from then on by them, and tells those who asked to hear of it.
    """
    pid, seq = reply or (None, None)
    return ["define", None, pid, seq, changed, gone]


def drop(pid: str) -> Input:
    """Take a durable slot out of memory."""
    return ["drop", pid]


def step(
    pid: str,
    now: int,
    recorded: Sequence[tuple[str, bytes]] | None,
    inputs: Sequence[Input],
    length: int = 0,
    size: int = 0,
) -> Input:
    """One step of a durable slot.

    Args:
        now: workflow time, ns since the epoch.
        recorded: values the step drew when it was live, or None when it is live now.
        inputs: what it consumes, in order.
        length: records in the history before this step.
        size: bytes of the history before this step.
    """
    return ["step", pid, now, recorded, inputs, length, size]


def answered(
    pid: str, now: int, seq: int, ok: bool, value: bytes, length: int, size: int
) -> Packed:
    """A step of a durable slot that is live, and takes one answer."""
    raw = pid.encode("utf-8", "surrogateescape")
    head = _ANSWERED_HEAD.pack(_ANSWERED, ok, seq, now, length, size, len(raw))
    return b"".join((head, raw, _LENGTH.pack(len(value)), value))


def begin(
    pid: str, now: int, entry: str, args: bytes, options: StartOptions, length: int, size: int
) -> Input:
    """The first step of a run that has nothing but these options: machine, parent, seed, info and
    context. Without maps, and with its info for when it is asked for, Lua reads it in a third of
    the time of a step with a start."""
    info = msgpack.packb(options["info"], unicode_errors="surrogateescape")
    rest = (options["machine"], options["parent"], options["seed"], info, options.get("context"))
    return ["begin", pid, entry, args, (now, length, size, *rest)]


def replayed(pid: str, steps: Iterable[Answered]) -> Packed:
    """Steps of a durable slot that follow each other in its history."""
    raw = pid.encode(errors="surrogateescape")
    parts, pack = [_REPLAYED_HEAD.pack(_REPLAYED, len(raw)), raw], _REPLAYED_STEP.pack
    for ok, seq, now, length, size, value in steps:
        parts.append(pack(ok, seq, now, length, size, len(value)))
        parts.append(value)
    return b"".join(parts)


def control_all(verb: str, reason: str | None = None) -> Input:
    """stop or terminate every process of the machine."""
    return ["control_all", None, verb, reason]


def listing(reply: ReplyTo) -> Input:
    """Ask for the processes: answered with a list of [pid, entry, waiting messages, parent]."""
    return ["list", None, reply[0], reply[1]]


def room(processes: int) -> Input:
    """How many processes the VM may hold before spawns go through the host, which places them."""
    return ["room", None, processes]
