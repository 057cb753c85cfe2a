"""Durable timers: the wall clock decides, the monotonic clock carries the wait between two looks
at it.

Timers live in the journal's index; only those due within the horizon are in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from hosts.timers import Timer, Timers
from journal import faults
from journal.journal import Journal
from journal.keys import NUMBER_MAX
from journal.store import Timer as Due

logger = logging.getLogger(__name__)

FIRE_BEFORE: Final = faults.declare("host.timer.before")

#: Timers that fall due within this time are held in memory, ns. Read again at half of it.
HORIZON_NS: Final = 60_000_000_000
#: How often the two clocks are compared, ns, and from what difference on it is called a jump.
LOOK_NS: Final = 1_000_000_000
JUMP_NS: Final = 1_000_000_000


class Receiver(Protocol):
    """Takes what is due."""

    def timer_due(self, run: int, seq: int) -> None: ...


class Owner(Protocol):
    """A shard, as far as timers are concerned."""

    @property
    def post(self) -> Callable[[Any], None]: ...

    @property
    def arrivals(self) -> Receiver: ...


class Deadlines:
    """Timers of all runs of a host.

    Args:
        owner_of: the shard that owns a run, or None when the run is not this host's.
    """

    def __init__(
        self, journal: Journal, timers: Timers, owner_of: Callable[[int], Owner | None]
    ) -> None:
        self._journal = journal
        self._timers = timers
        self._owner_of = owner_of
        #: The wall clock, ns since the epoch.
        self.wall: Callable[[], int] = timers.clock.wall
        self._armed: set[tuple[int, int]] = set()
        self._horizon = 0
        self._offset = 0
        self._generation = 0
        self._look: Timer | None = None

    def monotonic(self) -> int:
        """The monotonic clock, ns."""
        return self._timers.clock.monotonic()

    def after(self, ns: int, callback: Callable[[], None], *, background: bool = False) -> None:
        """Call back in `ns` nanoseconds; see `Timers.add`."""
        self._timers.add(self._timers.clock.monotonic() + ns, callback, background=background)

    def next_due(self) -> int | None:
        """Wall clock time, ns, of the first timer of the journal that is still to come."""
        rows = self._journal.timers_due(1, Due(self.wall(), NUMBER_MAX, NUMBER_MAX))
        return rows[0].due_ns if rows else None

    def start(self) -> None:
        """Fire what fell due while the node was down, in due order, and hold what is due soon."""
        clock = self._timers.clock
        self._offset = clock.wall() - clock.monotonic()
        self._read()
        self._look_again()

    def stop(self) -> None:
        """Fire nothing more."""
        self._generation += 1
        if self._look is not None:
            self._timers.cancel(self._look)

    def add(self, due: int, run: int, seq: int, owner: Owner) -> None:
        """A timer that is in the journal: hold it, if it is due soon."""
        if due <= self._horizon and (run, seq) not in self._armed:
            self._armed.add((run, seq))
            self._arm(due, run, seq, owner, self._generation)

    def _arm(self, due: int, run: int, seq: int, owner: Owner, generation: int) -> None:
        self.after(max(0, due - self.wall()), partial(self._fire, due, run, seq, owner, generation))

    def _fire(self, due: int, run: int, seq: int, owner: Owner, generation: int) -> None:
        if generation != self._generation:
            return
        if self.wall() < due:
            self._arm(due, run, seq, owner, generation)
            return
        faults.point(FIRE_BEFORE)
        self._armed.discard((run, seq))
        owner.post(partial(owner.arrivals.timer_due, run, seq))

    def _read(self) -> None:
        """Hold all timers up to a new horizon."""
        self._horizon = self.wall() + HORIZON_NS
        for due, run, seq in self._journal.timers_due(before_ns=self._horizon):
            if (run, seq) not in self._armed:
                owner = self._owner_of(run)
                if owner is not None:
                    self.add(due, run, seq, owner)

    def _look_again(self) -> None:
        clock = self._timers.clock
        offset = clock.wall() - clock.monotonic()
        if abs(offset - self._offset) > JUMP_NS:
            logger.warning(
                "the wall clock jumped by %+.3fs; durable timers follow it",
                (offset - self._offset) / 1e9,
            )
            self._offset = offset
            self._generation += 1
            self._armed.clear()
            self._read()
        elif clock.wall() + HORIZON_NS // 2 > self._horizon:
            self._read()
        due = clock.monotonic() + LOOK_NS
        self._look = self._timers.add(due, self._look_again, background=True)
