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


class Figure(NamedTuple):
    """One line of the table.

    Attributes:
        series: name of the series, as people read it.
        unit: of the series and its peer.
        peer: the series it is divided by, round by round; "" for none.
        goal: holds for the full size only.
    """

    series: str
    unit: str
    peer: str = ""
    goal: Goal | None = None


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
        peer: values of the peer, None without one.
        ratio: own value by the peer's of the same round, None without a peer.
        met: whether the goal is met; None without one, and where the size was not the full one.
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
    judged = summary = Spread.of(own)
    peer = ratio = None
    if figure.peer:
        others = [each[figure.peer] for each in rounds]
        peer = Spread.of(others)
        judged = ratio = Spread.of([a / b for a, b in zip(own, others, strict=True)])
    met = figure.goal.met(judged.median) if figure.goal and full else None
    return Result(benchmark, figure, summary, peer, ratio, met)
