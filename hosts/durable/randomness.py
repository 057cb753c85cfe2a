"""Random bytes from the operating system, fetched for many runs at once.

Each fetch is a system call, and lets another thread take the interpreter.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Final

_TOGETHER: Final = 64
#: The digit that says the variant, with the two random bits of a digit.
_VARIANTS: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


class _Randomness:
    """Pieces of `size` random bytes. Safe to use from any thread, and from a forked child."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pieces: deque[bytes] = deque()
        # A child that went on with these pieces would draw what its parent draws.
        os.register_at_fork(after_in_child=self._pieces.clear)

    def draw(self) -> bytes:
        """A piece that nobody else gets."""
        try:
            return self._pieces.popleft()
        except IndexError:
            size = self._size
            block = os.urandom(size * _TOGETHER)
            self._pieces.extend(block[at : at + size] for at in range(size, len(block), size))
            return block[:size]


_of_uuids: Final = _Randomness(16)
_of_seeds: Final = _Randomness(32)


def new_seed() -> bytes:
    """32 random bytes, for what is random in a run."""
    return _of_seeds.draw()


def new_uuid() -> str:
    """A random UUID (RFC 9562, version 4) as text."""
    digits = _of_uuids.draw().hex()
    variant = _VARIANTS[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
