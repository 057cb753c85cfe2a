"""The wall clock, as far as it may be trusted to delete by.

A clock that is set ahead makes everything old at once, and what was deleted by it is gone when
somebody sets it right. So the time is compared with what the journal last saw: when it is ahead by
more than the node can have slept through in its daily life, nothing is deleted before the node has
run for a while with the new time, which then counts as the right one. A clock that went back, or
was set back, deletes nothing too early.
"""

from __future__ import annotations

import logging
from typing import Final

from journal.journal import Journal
from journal.unit import Unit
from runtime.clock import Clock

logger = logging.getLogger(__name__)

_DAY: Final = 24 * 3600 * 1_000_000_000


class TrustedTime:
    """Compares the wall clock with the monotonic one, and with what the journal last saw.

    Args:
        retention: nanoseconds; a leap of a tenth of it, or of a day, is waited out for as long as
            the retention, or a day: whichever is less.
    """

    def __init__(self, journal: Journal, clock: Clock, retention: int) -> None:
        self._journal = journal
        self._clock = clock
        self._leap = min(_DAY, retention // 10 + 1)
        self._wait = min(_DAY, retention)
        self._written, self._left = journal.clock() or (0, 0)
        newest = next(journal.runs(newest_first=True, limit=1, on_bad=lambda error: None), None)
        self._wall = max(self._written, newest[1].started_ns if newest else 0) or clock.wall()
        self._monotonic = clock.monotonic()

    def now(self) -> int | None:
        """The wall clock, or None while it is not trusted. Raises JournalError."""
        wall, monotonic = self._clock.wall(), self._clock.monotonic()
        elapsed = monotonic - self._monotonic
        ahead = wall - self._wall - elapsed
        if ahead > self._leap:
            self._left = self._wait
            self._written = 0
            logger.warning(
                "journal %s: the clock is %.1f days ahead of what it was: no ended run is deleted "
                "before the node has run for another %.1f hours; if the clock is wrong, set it "
                "right before that",
                self._journal.path, ahead / _DAY, self._wait / _DAY * 24,
            )  # fmt: skip
        elif ahead < -self._leap:
            self._left = 0
        else:
            self._left = max(0, self._left - elapsed)
        self._wall, self._monotonic = wall, monotonic
        self._keep()
        return None if self._left else wall

    def _keep(self) -> None:
        """Note the time in the journal, now and then: at boot the monotonic clock knows nothing."""
        if abs(self._wall - self._written) > (self._wait // 50 if self._left else self._leap // 2):
            if not self._written and not self._left:
                self._written = self._wall  # the runs tell when it was last used
                return
            unit = Unit()
            unit.put_clock(self._wall, self._left)
            self._journal.commit(unit)
            self._written = self._wall
