"""Helpers for tests of the journal: commit and wait, and rows that are easy to write."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any

from journal.journal import Journal
from journal.records import RunRow
from journal.unit import Unit


def commit(journal: Journal, *units: Unit) -> list[Exception | None]:
    """Submit units and wait until each has its answer, which are returned in order."""
    answers: SimpleQueue[tuple[int, Exception | None]] = SimpleQueue()
    for n, unit in enumerate(units):
        journal.submit(unit, lambda error, n=n: answers.put((n, error)))  # type: ignore[misc]
    got = [answers.get(timeout=30) for _ in units]
    assert [n for n, _ in got] == list(range(len(units)))
    return [error for _, error in got]


def committed(journal: Journal, *units: Unit) -> None:
    """Submit units and wait until all are on disk."""
    assert commit(journal, *units) == [None] * len(units)


def appending(run: int, *records: list[Any]) -> Unit:
    """A unit that adds records to a history."""
    unit = Unit()
    unit.append(run, records)
    return unit


def running(run: int, workflow_id: str = "", status: str = "open", ended_ns: int = 0) -> Unit:
    """A unit that puts a run and its workflow id."""
    unit = Unit()
    workflow_id = workflow_id or f"id-{run}"
    unit.put_run(run, RunRow(workflow_id, f"u{run}", "app:w", "app:h", status, 1, ended_ns))
    unit.put_id(workflow_id, run)
    return unit
