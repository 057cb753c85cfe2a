"""What of a condition a server's visibility store can be asked.

A query finds at least the runs for which the condition holds; the condition itself then decides, as
it does for the runs of a journal, so that both tell the same. What the server may see otherwise
(order and case of texts, a missing attribute under `not`) is left out of the query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from hosts.where import FIELDS, And, Comparison, Condition, Not, names
from journal.attributes import Value
from runtime.errors import Kind, PerdureError

#: Status at the server -> ours; a run that is paused, 8, does not go on.
STATUSES: Final = {
    1: "open", 2: "completed", 3: "failed", 4: "cancelled", 5: "terminated", 6: "continued",
    7: "timed_out", 8: "suspended",
}  # fmt: skip
#: What a run has that the server saw fail again and again.
PROBLEMS: Final = "TemporalReportedProblems"

_NAMES: Final = {
    "completed": "Completed", "failed": "Failed", "cancelled": "Canceled",
    "terminated": "Terminated", "continued": "ContinuedAsNew", "timed_out": "TimedOut",
}  # fmt: skip
_TEXTS: Final = {"workflow_id": "WorkflowId", "run_id": "RunId", "entry": "WorkflowType"}
_TIMES: Final = {"started": "StartTime", "ended": "CloseTime"}
_NUMBERS: Final = ("Int", "Double")
_OPEN: Final = "CloseTime IS NULL"
_NOTHING: Final = "WorkflowId = ''"
#: Texts that look the same in every dialect.
_PLAIN: Final = re.compile(r"[ !#-&(-\[\]-~]*", re.ASCII)
#: As much of a time as one likes.
_TIME: Final = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d(\.\d+)?)?)?)?)?)?(\+00:00)?")
_EARLIEST: Final = "0001-01-01T00:00:00"
#: The store may keep times to the millisecond.
_MARGIN: Final = timedelta(milliseconds=1)


def query(
    queue: str, condition: Condition | None, open_only: bool, types: Mapping[str, str]
) -> str:
    """The query for runs of a task queue, see above.

    Args:
        types: of the search attributes of the namespace, as Temporal names them.

    Raises PerdureError INVALID for an attribute that cannot be compared.
    """
    parts = [f"TaskQueue = '{queue}'"]
    if open_only:
        parts.append(_OPEN)
    if condition is not None:
        for name in sorted(names(condition)):
            if types.get(name) == "KeywordList":
                text = (
                    f"where: {name} is a KeywordList at the Temporal server, and lists cannot be "
                    "compared: ask the server's own UI or CLI"
                )
                raise PerdureError(Kind.INVALID, text)
        narrowed = _narrowed(condition, types)
        if narrowed is not None:
            parts.append(narrowed)
    return " AND ".join(parts)


def _narrowed(condition: Condition, types: Mapping[str, str]) -> str | None:
    """A query for at least those for which the condition holds; None for all."""
    if isinstance(condition, Not):
        part = condition.part
        if isinstance(part, Comparison) and part.name == "status" and part.operator == "=":
            return _status("!=", part.value)
        return None
    if isinstance(condition, Comparison):
        return _compared(condition, types)
    found = [_narrowed(part, types) for part in condition.parts]
    if isinstance(condition, And):
        return _joined(" AND ", [each for each in found if each is not None])
    useful = [each for each in found if each is not None]
    return _joined(" OR ", useful) if len(useful) == len(found) else None


def _joined(by: str, parts: Iterable[str]) -> str | None:
    joined = by.join(parts)
    return f"({joined})" if joined else None


def _compared(comparison: Comparison, types: Mapping[str, str]) -> str | None:
    name, operator, value = comparison
    if name == "status":
        return _status(operator, value)
    if name in _TIMES:
        return _time(_TIMES[name], operator, value)
    if name in _TEXTS:
        return _text(_TEXTS[name], operator, value)
    if name in FIELDS:
        return None
    return _attribute(comparison, types.get(name))


def _status(operator: str, value: Value) -> str | None:
    if operator == "=":
        name = _NAMES.get(str(value))
        return _OPEN if name is None else f"ExecutionStatus = '{name}'"
    if operator == "!=" and value in _NAMES:
        return f"ExecutionStatus != '{_NAMES[str(value)]}'"
    return None


def _text(name: str, operator: str, value: Value) -> str | None:
    if operator == "=" and isinstance(value, str) and _PLAIN.fullmatch(value):
        return f"{name} = '{value}'"
    return None


def _time(name: str, operator: str, value: Value) -> str | None:
    moment = _moment(value)
    if operator == "=" and value == "":
        return _OPEN if name == "CloseTime" else _NOTHING
    if moment is None:
        return None
    if operator in (">", ">="):
        return f"{name} >= '{(moment - _MARGIN).isoformat()}'"
    if operator in ("<", "<="):
        # A run that is open has ended at "", which is before any time.
        return f"({name} <= '{(moment + _MARGIN).isoformat()}' OR {_OPEN})"
    return None


def _moment(value: Value) -> datetime | None:
    """The first moment whose text is not before such a text; None where that is no time."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return None
    text = value.removesuffix("+00:00")
    try:
        moment = datetime.fromisoformat(text + _EARLIEST[len(text) :]).replace(tzinfo=UTC)
        return moment if moment.year > 1 else None
    except ValueError:
        return None


def _attribute(comparison: Comparison, kind: str | None) -> str | None:
    name, operator, value = comparison
    if kind is None:
        return _NOTHING
    if operator == "!=":
        return f"`{name}` IS NOT NULL"
    if kind == "Keyword" and isinstance(value, str):
        return _text(f"`{name}`", operator, value)
    if kind == "Bool" and isinstance(value, bool):
        return f"`{name}` = {str(value).lower()}" if operator == "=" else None
    if kind in _NUMBERS and not isinstance(value, (bool, str)):
        return _number(f"`{name}`", operator, value, kind)
    return None


def _number(name: str, operator: str, value: float, kind: str) -> str | None:
    if isinstance(value, float) and (kind == "Int" or "e" in repr(value)):
        return None
    if abs(value) >= 1 << 53:
        return None
    return f"{name} {operator} {value!r}"
