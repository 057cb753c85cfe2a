"""What is wrong with a configuration: where, in which entry, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from runtime.errors import Kind, PerdureError


class Problem(NamedTuple):
    """One finding.

    `file` is an absolute path, or `-o …` for what came from an override. `line` counts from 1 and
    is 0 where no line is to blame. `entry` is an entry id, or "". `hint` says what would be right.
    """

    file: str
    line: int
    entry: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        text = f"{self.message}; {self.hint}" if self.hint else self.message
        return ": ".join(part for part in (place, self.entry, text) if part)


@dataclass
class Findings:
    """What reading a configuration has found so far, in the order of finding."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


class ConfigurationError(PerdureError):
    """The configuration is wrong; nothing was started. Kind Invalid.

    `problems` holds all of them, sorted by place; the text has one a line.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__(Kind.INVALID, "\n".join(map(str, self.problems)))

    def __str__(self) -> str:
        return self.message


def suggest(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint for a misspelt word: the nearest of the known ones.

    Where none is near, the hint is `otherwise`, with {} replaced by the known words.
    """
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1)
    return f'did you mean "{near[0]}"?' if near else otherwise.replace("{}", ", ".join(words))
