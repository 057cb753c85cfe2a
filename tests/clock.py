"""A clock that moves only when a test moves it."""

from __future__ import annotations

from hosts.timers import Timers

#: 2025-01-01T00:00:00Z, where fake wall clocks begin.
EPOCH = 1_735_689_600_000_000_000

MS = 1_000_000
S = 1_000_000_000


class FakeClock:
    """Stands still until `advance`; `timers` run at each deadline on the way.

    Waits are observed rather than slept: what a timer's callback sees in `monotonic()` is the
    very time it asked for.
    """

    def __init__(self) -> None:
        self.now = 0
        self.timers = Timers(self)

    def wall(self) -> int:
        return EPOCH + self.now

    def monotonic(self) -> int:
        return self.now

    def advance(self, nanoseconds: int) -> None:
        """Move on, stopping at each deadline to run what is due there."""
        end = self.now + nanoseconds
        while (due := self.timers.next_due()) is not None and due <= end:
            self.now = max(self.now, due)
            self.timers.run_due()
        self.now = end
