"""What was acknowledged to a run and not read goes to the run that follows it: one that goes on as
new, the next attempt, the next of a schedule.

It travels in what the server gives that run: a header, a detail of the failure, the metadata of the
result. Each of these comes to later runs, too (headers to all attempts, a result until there is
another one), so it says of which run it is, and only the run behind that takes it. A run that the
server ends by itself leaves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple, Self

import msgpack
from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from hosts.temporal.requests import EVENT
from runtime import inputs
from runtime.codec import decode_args, encode
from runtime.errors import PerdureError
from runtime.inputs import Input

#: In the metadata of a result.
METADATA: Final = "perdure-unread"
#: In the details of a failure it is this one.
DETAIL: Final = 2
#: Bytes around the parts of what is written, at most.
_AROUND: Final = 100
#: Types of an input's parts, behind its kind and PID. The first part of a control is its verb.
_SHAPES: Final = {
    "message": ((str,), (str,), (bytes,)),
    "signal": ((bytes,),),
    "control": ((str,), (str,), (str, type(None))),
}


class Unread(NamedTuple):
    """What a run leaves to the next.

    Attributes:
        run: its run id.
        items: messages, events and requests to cancel, in their order.
        keys: of messages that it, and those before it, have got.
    """

    run: str
    items: list[Input]
    keys: list[str]

    @classmethod
    def of(
        cls,
        run: str,
        messages: Iterable[Sequence[Any]],
        late: Iterable[Input],
        keys: list[str],
    ) -> Self:
        """What a run leaves, with its run id and the keys that it knows.

        Args:
            messages: topic, encoded arguments and sender of those that its code has not received;
                an event among them has a topic that nobody can send.
            late: what came behind its last step.
        """
        items = [
            inputs.signal("", encode(decode_args(args)[0]))
            if topic == EVENT
            else inputs.message("", topic, sender, args)
            for topic, args, sender in messages
        ]
        items += [item for item in late if item[0] in _SHAPES]
        return cls(run, items, keys)

    def within(self, room: int) -> Self:
        """So much of it, of what came first, that it is written in so many bytes; no keys when
        there is no room for those."""
        keys = self.keys if len(_packed(self.keys)) + _AROUND <= room else []
        sizes = accumulate(map(len, map(_packed, self.items)), initial=len(_packed(keys)) + _AROUND)
        fit = sum(size <= room for size in sizes) - 1
        return self._replace(items=self.items[: max(fit, 0)], keys=keys)

    def written(self) -> bytes:
        """`read` gives it back; b"" for nothing."""
        return _packed(self) if self.items or self.keys else b""


def _packed(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    return packed


def read(written: Any) -> Unread | None:
    """What a run has left; None for what is none of that."""
    if not isinstance(written, bytes):
        return None
    try:
        values = msgpack.unpackb(written, unicode_errors="surrogateescape")
    except ValueError:
        return None
    match values:
        case [str(), list(items), list(keys)] if all(map(_is_item, items)):
            return Unread(*values) if all(isinstance(key, str) for key in keys) else None
    return None


def _is_item(item: Any) -> bool:
    match item:
        case [str(kind), str(), *parts] if kind in _SHAPES:
            shape = _SHAPES[kind]
            return len(parts) == len(shape) and all(map(isinstance, parts, shape))
    return False


def left_to(pid: str, before: str | None, header: bytes | None) -> Unread:
    """What the run before the one that asks has left to it.

    Args:
        pid: of the one that asks.
        before: id of the run before, None for the first.
        header: what it was given in a header.
    """
    for written in () if before is None else _given(header):
        found = read(written)
        if found is not None and found.run == before:
            return found._replace(items=[[kind, pid, *rest] for kind, _, *rest in found.items])
    return Unread("", [], [])


def _given(header: bytes | None) -> Iterator[Any]:
    yield header
    try:
        failed = workflow.get_last_failure()
        result = workflow.get_last_completion_result(RawValue)
    except PerdureError:  # of a foreign worker, and nothing that can be read here
        return
    if isinstance(failed, ApplicationError) and len(failed.details) > DETAIL:
        yield failed.details[DETAIL]
    if result is not None:
        yield result.payload.metadata.get(METADATA)
