"""Dead letters: messages that found nobody."""

from __future__ import annotations

import logging
from collections import deque
from threading import Lock
from typing import Final, NamedTuple

from runtime.clock import Clock

logger = logging.getLogger(__name__)

#: How many are kept to be looked at.
KEPT: Final = 100


class DeadLetter(NamedTuple):
    """A message that found nobody, without what was in it."""

    at: int  #: Unix time, nanoseconds
    dest: str  #: PID or name that it was for
    topic: str
    sender: str  #: PID, or "" for one from outside


class DeadLetters:
    """Counts them and keeps the latest. Safe from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._latest: deque[DeadLetter] = deque(maxlen=KEPT)
        self._lock = Lock()
        #: All of them since the node was made.
        self.count = 0

    def add(self, dest: str, topic: str, sender: str) -> None:
        with self._lock:
            self.count += 1
            self._latest.append(DeadLetter(self._clock.wall(), dest, topic, sender))
        logger.debug('dead letter "%s" from %s to %s', topic, sender or "outside", dest)

    def latest(self) -> list[DeadLetter]:
        """The last ones, the newest first."""
        with self._lock:
            return list(reversed(self._latest))
