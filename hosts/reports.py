"""What a host of workflows tells people of its runs: one shape, wherever the runs are kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

from hosts.where import Condition

#: A run: workflow_id, run_id, pid, entry, host, status, started, ended (ISO 8601 in UTC or None),
#: problem (what keeps it from going on, or None), search, memo.
Row = dict[str, Any]


class Moment(NamedTuple):
    """An item of a history.

    Attributes:
        seq: its number there.
        at: wall clock, ns since the epoch; None while no step has taken it.
        type: one of `journal.records.RECORD_TYPES`, or a type that only its host has.
        data: what it says, by name; values decoded.
    """

    seq: int
    at: int | None
    type: str
    data: dict[str, Any]


class Reports(Protocol):
    """What people ask of a host. Every method raises PerdureError UNAVAILABLE, and names the host,
    when that cannot tell now; from any thread."""

    @property
    def id(self) -> str:
        """Id of the host."""
        ...

    def listed(self, condition: Condition | None, open_only: bool, limit: int) -> Iterable[Row]:
        """Runs for which a condition holds, the newest first; limit 0: all.

        Raises PerdureError INVALID for what the host cannot compare.
        """
        ...

    def attribute_names(self) -> Collection[str]:
        """The search attributes that there are."""
        ...

    def knows(self, workflow_id: str) -> bool:
        """Whether it has run a workflow of this id."""
        ...

    def shown(self, workflow_id: str, run_id: str) -> Row:
        """A run, "" for the current or last one, and how it stands.

        More keys than a row: args, parent (a PID or ""), history_length, history_size (bytes),
        waiting_messages, pending (of an open run, see `pending_row`), and `result` or `error` of
        one that has ended. Raises PerdureError NOT_FOUND.
        """
        ...

    def history(self, workflow_id: str, run_id: str) -> list[Moment]:
        """The history of a run, the oldest first. Raises PerdureError NOT_FOUND."""
        ...


@runtime_checkable
class ReportsRuns(Protocol):
    """A service that has runs to tell of."""

    id: str

    @property
    def reports(self) -> Reports:
        """What it tells."""
        ...

    @property
    def live(self) -> int:
        """How many runs are in memory."""
        ...


def pending_row(
    request: int | str,
    type: str,  # noqa: A002
    target: str | None = None,
    *,
    attempt: int | None = None,
    since: str | None = None,
    due: str | None = None,
    failure: str | None = None,
) -> Row:
    """Something that an open run has begun and not heard the end of.

    Args:
        request: its number in the history.
        since, due: ISO 8601 in UTC.
        failure: how the attempt before has failed.
    """
    return {
        "request": request,
        "type": type,
        "target": target,
        "attempt": attempt,
        "since": since,
        "due": due,
        "failure": failure,
    }
