"""Search attributes and memo of a run, as its row keeps them: `{"search": {…}, "memo": bytes}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from hosts.where import FIELDS, KEYWORDS
from journal.attributes import NAME_MAX, Value, place
from journal.errors import UnitError
from journal.records import RunRow
from journal.unit import Unit
from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def extra_with(extra: Mapping[str, Any] | None, search: Any, memo: Any) -> dict[str, Any] | None:
    """What a row keeps, with these attributes and this memo on top; None for either: as it is.

    Raises PerdureError INVALID.
    """
    made = dict(extra or {})
    if search is not None:
        made["search"] = {**made.get("search", {}), **_checked(search)}
    if memo is not None:
        if not isinstance(memo, Mapping) and memo != []:
            raise PerdureError(Kind.INVALID, f"the memo of a workflow is {memo!r}: give a table")
        made["memo"] = encode({**memo_of(made), **dict(memo)})
    return made or None


def memo_of(extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """The memo that a row keeps."""
    memo = (extra or {}).get("memo")
    found: Any = None if memo is None else decode(memo)
    return dict(found or {})


def search_of(row: RunRow) -> dict[str, Value]:
    """The search attributes that a row keeps."""
    found: dict[str, Value] = (row.extra or {}).get("search", {})
    return found


def index(run: int, before: Mapping[str, Value], after: Mapping[str, Value], unit: Unit) -> None:
    """Bring the index from the attributes that a run had to those that it has."""
    for name, value in before.items():
        if name not in after or not _same(after[name], value):
            unit.del_search(run, name, value)
    for name, value in after.items():
        if name not in before or not _same(before[name], value):
            unit.put_search(run, name, value)


def _same(one: Value, other: Value) -> bool:
    return type(one) is type(other) and one == other


def _checked(search: Any) -> dict[str, Value]:
    if not isinstance(search, Mapping):
        if search == []:  # an empty table is also an empty list
            return {}
        raise PerdureError(Kind.INVALID, f"search attributes are {search!r}: give a table")
    for name, value in search.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > NAME_MAX:
            raise PerdureError(
                Kind.INVALID, f"the name of a search attribute must be a word, not {name!r}"
            )
        if name in FIELDS or name in KEYWORDS:
            raise PerdureError(
                Kind.INVALID, f"{name} cannot be a search attribute: every run has it"
            )
        try:
            place(name, value)
        except UnitError as error:
            raise PerdureError(Kind.INVALID, str(error)) from error
    return dict(search)
