"""Time limits of one attempt of a call, and the watch that keeps them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from hosts.timers import Timer, Timers
from runtime.errors import Kind, PerdureError


class Limits(NamedTuple):
    """Nanoseconds; None for no limit."""

    total: int | None = None  #: from the request on, the wait for a free worker included
    to_start: int | None = None  #: the wait for a free worker
    running: int | None = None  #: from the start on
    heartbeat: int | None = None  #: from the start, or one heartbeat, to the next


NO_LIMITS: Final = Limits()


class Watch:
    """Ends an attempt that exceeds one of its limits. Safe to call from any thread.

    Args:
        what: names what is called, for the error.
        expire: called at most once, with the TIMEOUT error, on the timers' thread. The error is
            not retryable where trying again would mean to wait in the same queue.
    """

    def __init__(
        self, limits: Limits, timers: Timers, what: str, expire: Callable[[PerdureError], None]
    ) -> None:
        self._limits = limits
        self._timers = timers
        self._what = what
        self._expire = expire
        self._lock = threading.Lock()
        self._over = False
        self._timer: Timer | None = None
        self._requested = 0
        self._started: int | None = None
        self._beat = 0

    def requested(self) -> None:
        """Watch from now on; `expire` may be called before this returns."""
        with self._lock:
            self._requested = self._now()
            self._arm()

    def started(self) -> None:
        """A worker has taken the call."""
        limits = self._limits
        with self._lock:
            self._started = self._beat = self._now()
            if (limits.to_start, limits.running, limits.heartbeat) != (None, None, None):
                self._arm()

    def beat(self) -> None:
        """The function says that it is at work."""
        self._beat = self._now()

    def stop(self) -> None:
        """The attempt is over."""
        with self._lock:
            self._over = True
            self._disarm()

    def _now(self) -> int:
        return self._timers.clock.monotonic()

    def _nearest(self) -> tuple[int, str, bool | None] | None:
        """When the nearest limit is exceeded, what is said then, whether to try again."""
        limits = self._limits
        due: list[tuple[int, str, bool | None]] = []
        if limits.total is not None:
            text = f"{self._what} did not return within {limits.total / 1e9:g}s"
            due.append((self._requested + limits.total, text, None))
        if self._started is None:
            if limits.to_start is not None:
                text = f"no worker was free for {self._what} within {limits.to_start / 1e9:g}s"
                due.append((self._requested + limits.to_start, text, False))
        else:
            if limits.running is not None:
                text = f"{self._what} did not return within {limits.running / 1e9:g}s"
                due.append((self._started + limits.running, text, None))
            if limits.heartbeat is not None:
                text = f"{self._what} gave no heartbeat for {limits.heartbeat / 1e9:g}s"
                due.append((self._beat + limits.heartbeat, text, None))
        return min(due, key=lambda each: each[0], default=None)

    def _arm(self) -> None:
        self._disarm()
        nearest = self._nearest()
        if nearest is not None and not self._over:
            self._timer = self._timers.add(nearest[0], self._look)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timers.cancel(self._timer)
            self._timer = None

    def _look(self) -> None:
        with self._lock:
            nearest = self._nearest()
            if self._over or nearest is None:
                return
            due, text, retryable = nearest
            if due > self._now():
                self._arm()
                return
            self._over = True
        self._expire(PerdureError(Kind.TIMEOUT, text, retryable))
