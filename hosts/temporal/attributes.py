"""Search attributes as the server has them: each of one type in its namespace.

On a journal a value may be of any type; here it has to fit the type that its name has at the
server. The server fails a step with one that does not, or ends the run, so none gets there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from temporalio import workflow
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from hosts.temporal import requests
from runtime import commands as c
from runtime.codec import decode
from runtime.errors import Kind, PerdureError

if TYPE_CHECKING:
    from hosts.temporal.execution import Execution

#: Attributes that fit: name -> type in the namespace and value.
Fitted = Mapping[str, tuple[str, Any]]

#: Instead of a type: the server gives its value.
OWN: Final = ""

#: Bytes of a text that the server takes (its limit.searchAttributesSizeOfValue, less quotes).
_LONGEST: Final = 2_000

_KEYS: Final[dict[str, Any]] = {
    "Bool": SearchAttributeKey.for_bool,
    "Int": SearchAttributeKey.for_int,
    "Double": SearchAttributeKey.for_float,
    "Keyword": SearchAttributeKey.for_keyword,
    "Text": SearchAttributeKey.for_text,
    "KeywordList": SearchAttributeKey.for_keyword_list,
}


def name_of(number: Any) -> str:
    """A type by its name in Temporal, such as "Int" or "KeywordList"."""
    words = IndexedValueType.Name(number).removeprefix("INDEXED_VALUE_TYPE_").split("_")
    return "".join(word.capitalize() for word in words)


def number_of(name: str) -> IndexedValueType.ValueType:
    """The number that a type made here has."""
    return IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{name.upper()}")


def type_of(value: Any) -> str:
    """Type of an attribute made for a value."""
    if isinstance(value, bool):
        return "Bool"
    if isinstance(value, int):
        return "Int"
    return "Double" if isinstance(value, float) else "Keyword"


def fitted(name: str, value: Any, kind: str) -> tuple[str, Any]:
    """A value as an attribute of a type takes it. Raises PerdureError INVALID."""
    own = type_of(value)
    if kind == OWN:
        text = (
            f"search attribute {name}: every run of the Temporal server has it: take another name"
        )
        raise PerdureError(Kind.INVALID, text, False)
    if own == "Keyword" and len(value.encode()) > _LONGEST:
        text = f"search attribute {name}: the Temporal server takes texts up to {_LONGEST} bytes"
        raise PerdureError(Kind.INVALID, text, False)
    if own == kind or (own, kind) == ("Keyword", "Text"):
        return kind, value
    if (own, kind) == ("Int", "Double"):
        return kind, float(value)
    if (own, kind) == ("Double", "Int") and value.is_integer():
        return kind, int(value)
    if (own, kind) == ("Keyword", "KeywordList"):
        return kind, [value]
    text = f"search attribute {name} is of type {kind} at the Temporal server, not of {own}"
    raise PerdureError(Kind.INVALID, f"{text}: give such a value, or another name", False)


def typed(search: Fitted) -> TypedSearchAttributes | None:
    """Attributes of a start; None without any."""
    pairs = [
        SearchAttributePair(_KEYS[kind](name), value) for name, (kind, value) in search.items()
    ]
    return TypedSearchAttributes(pairs) if pairs else None


class Attributes:
    """Gives a run its search attributes and memo."""

    def __init__(self, execution: Execution) -> None:
        self._run = execution
        #: What is set later wins.
        self._in_order = asyncio.Lock()

    def set(self, command: c.Attributes) -> None:
        """What the server does not take is left out, and a warning tells of it."""
        search = {} if command.search is None else decode(command.search) or {}
        memo = {} if command.memo is None else decode(command.memo) or {}
        if memo:
            workflow.upsert_memo(memo)
        if search:
            self._run.keep(asyncio.get_running_loop().create_task(self._set_search(search)))

    async def _set_search(self, search: dict[str, Any]) -> None:
        async with self._in_order:
            fit, _ = await self.fitted(search)
        if fit:
            workflow.upsert_search_attributes(
                [_KEYS[kind](name).value_set(value) for name, (kind, value) in fit.items()]
            )

    async def fitted(self, search: dict[str, Any]) -> tuple[Fitted, dict[str, PerdureError]]:
        """Search attributes as the server takes them, and why it does not take the others."""
        fit, refused = await workflow.execute_local_activity(
            requests.ATTRIBUTES, args=[search], result_type=list, **requests.PATIENT
        )
        return dict(fit), dict(refused)
