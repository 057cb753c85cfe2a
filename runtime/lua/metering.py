"""Lua sources that count what they do.

A count hook stops the interpreter at every instruction, which doubles the price of all code. What
runs without end comes, again and again, to the head of a loop, the head of a function or a `goto`;
so those are the places where a metered source counts, by a variable that all code of a VM shares:

    for i = 1, n do  →  for i = 1, n do left=left-9 if left<0 then look()end

A place counts what lies between it and the next ones, by its length: about an instruction for eight
bytes. A short branch counts as taken; a long one counts for itself, when it is taken. The condition
of a loop counts with its body, and a `goto` that leads back counts all that it may run again.

The scanner knows strings, comments, labels and keywords. That is enough for sources that compile,
which is all that it is for: in these, keywords are nothing else, and blocks are closed in their
order. Only where the condition of an `until` ends it cannot tell: the next statement that begins
with a keyword ends it for sure.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import Final, NamedTuple

_BLANK: Final = rb"--\[(?P<%b>=*)\[[\s\S]*?\](?P=%b)\]|--(?!\[=*\[)[^\r\n]*+"
_TOKEN: Final = re.compile(
    _BLANK.replace(b"%b", b"comment")
    + rb"""
    | \[(?P<text>=*)\[[\s\S]*?\](?P=text)\]
    | "(?:[^"\\]|\\[\s\S])*+" | '(?:[^'\\]|\\[\s\S])*+'
    | ::(?P<label>(?:[\w\s]|"""
    + _BLANK.replace(b"%b", b"inlabel")
    + rb""")*+)::
    | \b(?P<word>function|do|repeat|then|else|elseif|end|until|while|if|for|local|return|break)\b
    | \bgoto(?P<goal>(?:\s|"""
    + _BLANK.replace(b"%b", b"ingoto")
    + rb""")*+\w++)
    """,
    re.VERBOSE,
)
_ANY_BLANK: Final = re.compile(rb"\s+|" + _BLANK.replace(b"%b", b"blank"))
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
    """A block that is open, or the condition of a `while`.

    Attributes:
        at: where it begins.
        branch: of an `if`.
        of_while: it is such a condition.
        of_until: a `repeat` whose condition is being read.
        labels: names of its labels, and where they end.
        size: bytes that are its own.
    """

    __slots__ = ("at", "branch", "labels", "of_until", "of_while", "size")

    def __init__(
        self, at: int, branch: bool = False, of_while: bool = False, size: int = 0
    ) -> None:
        self.at = at
        self.branch = branch
        self.of_while = of_while
        self.of_until = False
        self.labels: dict[bytes, int] = {}
        self.size = size


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
    taken = set(re.findall(re.escape(name) + rb"(\d*)", source))
    numbers = itertools.chain([b""], (b"%d" % number for number in itertools.count(1)))
    return name + next(number for number in numbers if number not in taken)


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
        word, label, goal = match["word"], match["label"], match["goal"]
        if word is None and label is None and goal is None:
            continue  # a comment or a text
        if word == b"function":
            header = _HEADER.match(source, at)
            assert header is not None, source[at : at + 100]
            at = header.end()
            blocks.append(_Block(at))
            continue
        if word == b"do" and blocks[-1].of_while:
            blocks.append(_Block(at, size=blocks.pop().size))
            continue
        if blocks[-1].of_until:
            close()
        if label is not None:
            blocks[-1].labels[_ANY_BLANK.sub(b"", label)] = at
        elif goal is not None:
            name = _ANY_BLANK.sub(b"", goal)
            back = (block.labels[name] for block in reversed(blocks) if name in block.labels)
            again = match.start() - next(back, match.start())
            places.append((match.start(), _COUNTING + again // _BYTES))
        elif word in (b"do", b"repeat"):
            blocks.append(_Block(at))
        elif word == b"while":
            blocks.append(_Block(at, of_while=True))
        elif word == b"until":
            blocks[-1].of_until = True
        elif word == b"then":
            blocks.append(_Block(at, branch=True))
        elif word in (b"end", b"else", b"elseif"):
            close()
            if word == b"else":
                blocks.append(_Block(at, branch=True))
    blocks[-1].size += len(source) - at
    while blocks:
        close()
    return places
