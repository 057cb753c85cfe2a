"""What a unit on its way to the disk owes once it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hosts.durable.records import Record
from runtime.inputs import ReplyTo


class Flight(NamedTuple):
    """What a submitted unit owes once it is on disk."""

    #: the run that it is about, 0 for none
    run: int = 0
    acks: Sequence[tuple[ReplyTo, bytes]] = ()
    effects: Sequence[Callable[[], None]] = ()
    #: its input records
    inputs: Sequence[Record] = ()
    #: what is to be done a while later when it is not on disk
    lost: Callable[[], None] | None = None
