"""Holds back log lines that repeat: what fails in a loop must not bury all other lines."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from runtime.clock import Clock

#: Lines of one key within `PERIOD` nanoseconds that are written; of further ones, none.
BURST: Final = 5
PERIOD: Final = 10_000_000_000
#: Keys that are remembered, the latest; an older one begins anew.
_KEYS: Final = 256


@dataclass(slots=True)
class _Lines:
    since: int
    written: int = 0
    held: int = 0


class Throttle:
    """Counts lines by their keys. One thread at a time may ask for the same key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: dict[Hashable, _Lines] = {}

    def passes(self, key: Hashable) -> str | None:
        """None when a line is to be held back; else what to add to it, mostly nothing."""
        now = self._clock.monotonic()
        lines = self._lines.pop(key, None) or _Lines(now)
        self._lines[key] = lines
        if len(self._lines) > _KEYS:
            del self._lines[next(iter(self._lines))]
        if now - lines.since > PERIOD:
            lines.since, lines.written = now, 0
        if lines.written == BURST:
            lines.held += 1
            return None
        lines.written += 1
        held, lines.held = lines.held, 0
        return f" (and {held} times more since this was last written)" if held else ""
