"""Lua sources that count what they do, as bytes."""

from __future__ import annotations

from runtime.lua.metering import metered, metered_once


def meter(source: bytes, lasting: bool) -> tuple[bytes, bytes, bytes]:
    """A source that compiles, metered: the source, the names of its counter and of its look.

    lasting: it is the source of an entry, which every VM asks for.
    """
    return metered_once(source) if lasting else metered(source)
