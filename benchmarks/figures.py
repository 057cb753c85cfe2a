"""What is measured: series, figures made of them, and the goals they are held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

#: One round: the value of every series by its name.
Round = Mapping[str, float]


class Goal(NamedTuple):
    """A bound, on the ratio of a figure that has a peer and on its median otherwise."""

    limit: float
    at_least: bool

    def met(self, value: float) -> bool:
        """Whether `value` is on the right side of the bound."""
        return value >= self.limit if self.at_least else value <= self.limit


class Peer(NamedTuple):
    """Another program that does the same, where it is installed.

    Attributes:
        name: as people read it.
        note: what a reader must know of it, as what it has on disk when it says so.
        needs: what installs it.
        present: whether it is installed.
    """

    name: str
    note: str
    needs: str
    present: Callable[[], bool]

    def of(self, series: str) -> str:
        """The name of its series beside one of ours; a round without it was made without it."""
        return f"{series}: {self.name}"


class Figure(NamedTuple):
    """One line of the table.

    Attributes:
        series: name of the series, as people read it.
        unit: of the series and its peer.
        peer: what it is divided by, round by round: another series, or a program; "" for none.
        goal: holds for the full size only.
    """

    series: str
    unit: str
    peer: str | Peer = ""
    goal: Goal | None = None

    @property
    def divisor(self) -> str:
        """The series of the peer; "" for none."""
        return self.peer.of(self.series) if isinstance(self.peer, Peer) else self.peer

    @property
    def beside(self) -> str:
        """The peer as people read it; "" for none."""
        return self.peer.name if isinstance(self.peer, Peer) else self.peer


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A workload.

    Attributes:
        name: what `--only` takes.
        full: size that the goals are meant for; what it counts is the benchmark's own.
        quick: size that shows in a second or so that it works.
        prepare: (size, empty folder) -> a context in which calling its value measures one round.
        rounds: measured rounds; their medians are shown.
        warmup: rounds before those, thrown away.
    """

    name: str
    figures: tuple[Figure, ...]
    full: int
    quick: int
    prepare: Callable[[int, Path], AbstractContextManager[Callable[[], Round]]]
    rounds: int = 5
    warmup: int = 1


class Spread(NamedTuple):
    """Some values in short."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(min(values), median(values), max(values))


class Result(NamedTuple):
    """A figure as measured.

    Attributes:
        peer: values of the peer, None without one and where it is not installed.
        ratio: own value by the peer's of the same round, None without such.
        met: whether the goal is met; None where there is nothing to judge: no goal, a size that
            was not the full one, a peer that is not installed.
    """

    benchmark: str
    figure: Figure
    own: Spread
    peer: Spread | None
    ratio: Spread | None
    met: bool | None


def result(benchmark: str, figure: Figure, rounds: Sequence[Round], *, full: bool) -> Result:
    """Sum up what the rounds of a benchmark say about one of its figures."""
    own = [each[figure.series] for each in rounds]
    summary = Spread.of(own)
    peer = ratio = None
    judged: Spread | None = summary
    if figure.peer:
        others = [each[figure.divisor] for each in rounds if figure.divisor in each]
        peer = Spread.of(others) if others else None
        ratios = [a / b for a, b in zip(own, others, strict=True)] if others else []
        judged = ratio = Spread.of(ratios) if ratios else None
    met = figure.goal.met(judged.median) if figure.goal and judged and full else None
    return Result(benchmark, figure, summary, peer, ratio, met)
