"""Time as the runtime sees it, so that tests can bring their own.

`wall` is what users' timestamps and durable deadlines are in; `monotonic` carries waits between
two looks at the wall clock. Both are integers of nanoseconds.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of time; the unit is nanoseconds everywhere."""

    def wall(self) -> int:
        """Nanoseconds since the Unix epoch; may jump."""
        ...

    def monotonic(self) -> int:
        """Nanoseconds since some start; never goes back."""
        ...


class SystemClock:
    """The clock of the machine."""

    wall = staticmethod(time.time_ns)
    monotonic = staticmethod(time.monotonic_ns)


def timestamp(ns: int | None) -> str | None:
    """Nanoseconds since the epoch as ISO 8601 in UTC, to the microsecond; None for 0 and None."""
    if not ns:
        return None
    moment = datetime.fromtimestamp(ns // 1_000_000_000, UTC)
    return moment.replace(microsecond=ns // 1000 % 1_000_000).isoformat(timespec="microseconds")
