"""Replays the histories that a node left, ended runs included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hosts.durable.records import Record
from runtime.config.loader import load
from supervision.trial import new_trial, reading


def misfits(app: Path, journal: str = "data/journal") -> tuple[int, dict[str, str]]:
    """How many runs the journal of a stopped node has, and what a replay of them did otherwise.

    The second result has an entry's id and how code and history differ.
    """
    trial, found, count = new_trial(load(app).registry), {}, 0
    with reading(app / journal) as store:

        def fail(error: Exception) -> None:
            raise error

        for number, row in store.runs(on_bad=fail):

            def recorded(number: int = number) -> Iterator[Record]:
                return store.records(number)

            count += 1
            verdict = trial.run(row, recorded)
            if verdict.problem:
                text = f"{verdict.problem}: {verdict.recorded} {verdict.attempted} {verdict.source}"
                found[row.entry] = text
    return count, found
