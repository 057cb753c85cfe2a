"""Lua sources that count what they do.

A count hook stops the interpreter at every instruction, which doubles the price of all code. What
runs without end comes, again and again, to the head of a loop, the head of a function or a `goto`;
so those are the places where a metered source counts, by a variable that all code of a VM shares:

    for i = 1, n do  →  for i = 1, n do left=left-9 if left<0 then look()end

A place counts what lies between it and the next ones, by its length: about an instruction for eight
bytes. A short branch counts as taken; a long one counts for itself, when it is taken.

The scanner knows strings, comments and keywords. That is enough for sources that compile, which is
all that it is for: in these, keywords are nothing else, and blocks are closed in their order.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

_BLANK: Final = rb"--\[(?P<%b>=*)\[[\s\S]*?\](?P=%b)\]|--(?!\[=*\[)[^\r\n]*+"
_TOKEN: Final = re.compile(
    _BLANK.replace(b"%b", b"comment")
    + rb"""
    | \[(?P<text>=*)\[[\s\S]*?\](?P=text)\]
    | "(?:[^"\\]|\\[\s\S])*+" | '(?:[^'\\]|\\[\s\S])*+'
    | \b(?P<word>function|do|repeat|then|else|elseif|end|until|goto)\b
    """,
    re.VERBOSE,
)
#: What follows the word `function`, up to its body.
_HEADER: Final = re.compile(
    rb"(?:[\w.:\s]|" + _BLANK.replace(b"%b", b"name") + rb")*+\("
    rb"(?:[\w.,\s]|" + _BLANK.replace(b"%b", b"parameter") + rb")*+\)"
)

_BYTES: Final = 8  #: of source that make an instruction, in code that is written to be read
_COUNTING: Final = 2  #: what a place costs even if nothing lies behind it
_LONG: Final = 100  #: bytes from which on a branch counts for itself


class Metered(NamedTuple):
    """A source that counts, and what it calls the two variables that it takes for granted.

    counter: an integer, lowered as the code runs.
    look: the function to be called when the counter has fallen below zero.
    """

    source: bytes
    counter: bytes
    look: bytes


class _Block:
    __slots__ = ("at", "branch", "size")

    def __init__(self, at: int, branch: bool = False) -> None:
        self.at = at
        self.branch = branch
        self.size = 0


def metered(source: bytes) -> Metered:
    """The source with the counting put in; each line stays the line that it is.

    source: plain Lua that compiles. Takes time in proportion to its length.
    """
    counter, look = _unused(b"left", source), _unused(b"look", source)
    charge = b" %b=%b-%%d if %b<0 then %b()end " % (counter, counter, counter, look)
    pieces, copied = [], 0
    for at, cost in sorted(_places(source)):
        pieces += [source[copied:at], charge % cost]
        copied = at
    pieces.append(source[copied:])
    return Metered(b"".join(pieces), counter, look)


#: For sources that every VM asks for.
metered_once: Final = lru_cache(maxsize=1024)(metered)


def _unused(name: bytes, source: bytes) -> bytes:
    """A name that the source cannot mean."""
    number = 0
    found = name
    while found in source:
        number += 1
        found = b"%b%d" % (name, number)
    return found


def _places(source: bytes) -> list[tuple[int, int]]:
    """Where to count, and how much."""
    places: list[tuple[int, int]] = []
    blocks = [_Block(0)]

    def close() -> None:
        block = blocks.pop()
        if not block.branch or block.size > _LONG:
            places.append((block.at, _COUNTING + block.size // _BYTES))
        else:
            blocks[-1].size += block.size

    at = 0
    while match := _TOKEN.search(source, at):
        blocks[-1].size += match.start() - at
        at = match.end()
        word = match["word"]
        if word is None:
            continue
        if word == b"function":
            header = _HEADER.match(source, at)
            assert header is not None, source[at : at + 100]
            at = header.end()
            blocks.append(_Block(at))
        elif word in (b"do", b"repeat"):
            blocks.append(_Block(at))
        elif word == b"then":
            blocks.append(_Block(at, branch=True))
        elif word == b"goto":
            places.append((match.start(), _COUNTING))
        else:
            close()
            if word == b"else":
                blocks.append(_Block(at, branch=True))
    blocks[-1].size += len(source) - at
    close()
    return places
