"""What is wrong with a configuration: where, in which entry, and what would be right."""

from __future__ import annotations

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
    """What reading a configuration has found so far, in the order of finding.

    `incomplete`: there may be entries in what could not be read.
    """

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    incomplete: bool = False

    def unread(self, problem: Problem) -> None:
        """Add a problem that kept entries from being read."""
        self.problems.append(problem)
        self.incomplete = True


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
    found = nearest(word, words)
    return f'did you mean "{found}"?' if found else otherwise.replace("{}", ", ".join(words))


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The word that `word` may be a slip of, or None.

    It has a third of its letters changed at most. What two ids have in common in front of their
    last `:` or `.` makes them no nearer: it is left aside where it is the same.
    """
    near = ((_distance(*_apart(word, each)), each) for each in words)
    return min((each for each in near if each[0] is not None), default=(None, None))[1]


def _apart(one: str, other: str) -> tuple[str, str]:
    """Both without the namespace that they share."""
    cut = max(one.rfind(":"), one.rfind(".")) + 1
    same = cut == max(other.rfind(":"), other.rfind(".")) + 1 and one[:cut] == other[:cut]
    return (one[cut:], other[cut:]) if same else (one, other)


def _distance(one: str, other: str) -> int | None:
    """Letters to put in, take out, replace or swap with the next (Damerau-Levenshtein, each place
    once), upper and lower case apart; None when they are more than a third."""
    longer = max(len(one), len(other))
    most = min(max(1, (longer + 1) // 3), longer - 1)
    if abs(len(one) - len(other)) > most:
        return None
    a, b = one.lower(), other.lower()
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, against in enumerate(b, 1):
            cost = before[j - 1] + (letter != against)
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == against:
                cost = min(cost, last[j - 2] + 1)
            row.append(min(cost, before[j] + 1, row[j - 1] + 1))
        if min(row) > most:
            return None
    return row[-1] if row[-1] <= most else None
