"""Lua sources without their types, as bytes."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from runtime.lua.types.erase import erase
from runtime.lua.types.grammar import TypeSyntaxError


def erased(source: bytes, lasting: bool) -> bytes | tuple[None, bytes]:
    """A Lua source without its types, or None and the line and what is wrong there.

    lasting: it is the source of an entry, which every VM asks for.
    """
    try:
        text = source.decode("latin-1")  # a character a byte
        return (_erase_once(text) if lasting else erase(text)).encode("latin-1")
    except TypeSyntaxError as error:
        return None, f"{error.line}: {error.text}".encode("latin-1")


_erase_once: Final = lru_cache(maxsize=1024)(erase)
