"""Finding runs: the newest first, or those for which a condition holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice

from hosts.attributes import search_of
from hosts.where import Condition, indexed, texts
from journal.attributes import Value
from journal.errors import BadRecordError
from journal.records import OPEN_STATUSES, RunRow
from journal.store import Store
from runtime.clock import timestamp


class RunFields:
    """What a condition can name of a run."""

    def __init__(self, row: RunRow) -> None:
        self._row = row
        self._search = search_of(row)

    def get(self, name: str) -> Value | None:
        """The value of a field or attribute, None when the run has no such attribute."""
        if name in ("started", "ended"):
            ns: int = getattr(self._row, f"{name}_ns")
            return timestamp(ns) or ""
        if name in ("workflow_id", "run_id", "entry", "host", "status"):
            return str(getattr(self._row, name))
        return self._search.get(name)


def found(
    journal: Store,
    host: str,
    condition: Condition | None = None,
    *,
    open_only: bool = False,
    limit: int | None = None,
) -> Iterator[tuple[int, RunRow]]:
    """Number and row of the runs of a host, the newest first.

    The index of search attributes is asked where it can help. Every other condition is a look at
    every run: a short one where texts, such as a status, are known to stand in the row.
    """
    rows = _candidates(journal, condition, open_only)
    fitting = (
        (number, row)
        for number, row in rows
        if row.host == host
        and (row.is_open or not open_only)
        and (condition is None or condition.holds(RunFields(row)))
    )
    return islice(fitting, limit)


def _candidates(
    journal: Store, condition: Condition | None, open_only: bool
) -> Iterator[tuple[int, RunRow]]:
    plan = None if condition is None else indexed(condition)
    if plan is None:
        known: Iterable[str] | None = OPEN_STATUSES if open_only else None
        if condition is not None:
            known = texts(condition) or known
        return journal.runs(newest_first=True, texts=known, on_bad=_pass_over)
    find = partial(journal.found, on_bad=_pass_over)
    numbers = {run for each in plan for run in find(each.name, each.value, each.operator)}
    rows = ((number, journal.run(number)) for number in sorted(numbers, reverse=True))
    return ((number, row) for number, row in rows if row is not None)


def _pass_over(error: BadRecordError) -> None:
    """`perdure journal verify` tells of what is hurt."""
