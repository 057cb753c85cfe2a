"""Lua source as tokens, with those that only types use."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(
    r"""
    (?: \s | --(?!\[=*\[)[^\r\n]* | --\[(=*)\[[\s\S]*?\]\1\] )*+     # blanks and comments
    (?: ( [A-Za-z_]\w*+                                              # names and keywords
        | 0[xX](?:[pP][+-]|[\w.])*+ | \.?[0-9](?:[eE][+-]|[\w.])*+   # numbers
        | "(?:[^"\\\r\n] | \\(?:z\s*+|\r\n|\n\r|[\s\S]))*+"          # texts
        | '(?:[^'\\\r\n] | \\(?:z\s*+|\r\n|\n\r|[\s\S]))*+'
        | \[(=*)\[[\s\S]*?\]\3\]
        | :: | -> | \.{1,3} | [=~<>]= | // | << | >>                 # operators
        | -(?!-) | \[(?!=*\[) | [-+*/%^\#&|~<>=(){}\];:,?!@]
        | \Z )
      | [\s\S] )                                                     # what is no Lua
    """,
    re.VERBOSE | re.ASCII,
)
_LINE_BREAK: Final = re.compile(r"\r\n|\n\r|\r|\n")


class Tokens:
    """The tokens of a source, up to its end or to what is no token at all.

    The last one is empty: whoever looks no more than one token ahead of another finds something.
    """

    __slots__ = ("_closers", "source", "starts", "texts")

    def __init__(self, source: str) -> None:
        self.source = source
        self.texts: list[str] = []
        self.starts: list[int] = []
        self._closers: dict[int, int] | None = None
        for match in _TOKEN.finditer(source):
            text = match[2]
            if not text:
                break
            self.texts.append(text)
            self.starts.append(match.start(2))
        end = len(source)
        self.texts += ["", ""]
        self.starts += [end, end]

    def end_before(self, at: int) -> int:
        """Offset behind the token before one."""
        return self.starts[at - 1] + len(self.texts[at - 1]) if at else 0

    def line(self, at: int) -> int:
        """Line that a token begins on, from 1."""
        return 1 + len(_LINE_BREAK.findall(self.source, 0, self.starts[at]))

    def on_one_line(self, start: int, end: int) -> bool:
        """Whether no line break lies between two offsets."""
        between = self.source[start:end]
        return "\n" not in between and "\r" not in between

    def closer(self, at: int) -> int | None:
        """The bracket that closes the one at `at`; None when nothing does."""
        if self._closers is None:
            self._closers = {}
            opened: list[int] = []
            for index, text in enumerate(self.texts):
                if text in ("(", "{", "["):
                    opened.append(index)
                elif text in (")", "}", "]") and opened:
                    self._closers[opened.pop()] = index
        return self._closers.get(at)
