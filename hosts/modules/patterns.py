"""Patterns of names that are made of segments with dots between them, as in `order.created`.

literal      is that segment
*            is any one segment
**           is any number of segments, none as well
(a|b)        is one of these segments
"""

from __future__ import annotations

import re
from typing import Final

from runtime.errors import Kind, PerdureError

_ANY: Final = "*"
_DEEP: Final = "**"
_ALTERNATIVES: Final = re.compile(r"\(([^().*|]+(?:\|[^().*|]+)*)\)")
_LITERAL: Final = re.compile(r"[^().*|]+")


class Pattern:
    """A pattern that names are held against.

    Raises PerdureError INVALID for a text that is none.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):  # of users' Python code, too
            raise PerdureError(Kind.INVALID, f"a pattern is a text, not {text!r}")
        self.text = text
        self._segments = [_segment(text, each) for each in text.split(".")]

    def matches(self, name: str) -> bool:
        """Whether the name is one of those that the pattern means."""
        # Every place in the pattern that the name can have come to: time is their product at most.
        places = self._reach({0})
        for part in name.split("."):
            places = self._reach({next_ for at in places for next_ in self._after(at, part)})
        return len(self._segments) in places

    def _after(self, at: int, part: str) -> tuple[int, ...]:
        """Where one segment of a name leads from a place."""
        if at == len(self._segments):
            return ()
        segment = self._segments[at]
        if segment == _DEEP:
            return (at,)
        return (at + 1,) if segment == _ANY or part in segment else ()

    def _reach(self, places: set[int]) -> set[int]:
        """These places and those behind each `**` that begins there."""
        reached = set(places)
        for at in places:
            while at < len(self._segments) and self._segments[at] == _DEEP:
                at += 1
                reached.add(at)
        return reached


def _segment(text: str, segment: str) -> str | frozenset[str]:
    if segment in (_ANY, _DEEP):
        return segment
    if _LITERAL.fullmatch(segment):
        return frozenset({segment})
    alternatives = _ALTERNATIVES.fullmatch(segment)
    if alternatives is None:
        raise PerdureError(
            Kind.INVALID,
            f'"{text}" is not a pattern: between its dots there is a name, * for any one, '
            "** for any number of them, or (a|b)",
        )
    return frozenset(alternatives[1].split("|"))
