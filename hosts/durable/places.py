"""Room for activities: how many run at the same time, and who waits in which order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Places:
    """The places of one shard. Used on its thread.

    Args:
        limit: activities at the same time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._waiting: deque[Callable[[], None]] = deque()
        #: While activities that a crash interrupted are run one at a time, others wait.
        self.held = False
        self._calling = False

    def take(self) -> bool:
        """Take a place, to be given back by `leave`; false when there is none, or others wait."""
        if self.held or self._waiting or self._taken >= self._limit:
            return False
        self._taken += 1
        return True

    def wait(self, begin: Callable[[], None]) -> None:
        """Call `begin` when there is a place, which it gives back by `leave`."""
        self._waiting.append(begin)
        self._next()

    def leave(self) -> None:
        """A place is free."""
        self._taken -= 1
        if self._waiting:
            self._next()

    def force(self) -> None:
        """Take a place whether or not there is one."""
        self._taken += 1

    def release(self) -> None:
        """Others need not wait any more."""
        self.held = False
        self._next()

    def _next(self) -> None:
        # What begins may be over at once, and leave: it comes back here, not one call deeper.
        if self._calling:
            return
        self._calling = True
        try:
            while self._waiting and not self.held and self._taken < self._limit:
                self._taken += 1
                self._waiting.popleft()()
        finally:
            self._calling = False
