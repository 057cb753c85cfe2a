"""What a unit on its way to the disk owes once it is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hosts.durable.records import Record
from runtime.inputs import ReplyTo


class Flight(NamedTuple):
    """What a submitted unit owes once it is on disk."""

    run: int
    acks: list[tuple[ReplyTo, bytes]]
    effects: list[Callable[[], None]]
    #: input records that nobody outside would send again
    internal: list[Record]
