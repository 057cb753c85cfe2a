"""Search attributes as the server has them: each of one type in its namespace.

On a journal a value may be of any type; here it has to fit the type that its name has at the
server. The server fails a step with one that does not, or ends the run, so none gets there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from temporalio import workflow
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from hosts.temporal import requests
from runtime import commands as c
from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError

if TYPE_CHECKING:
    from hosts.temporal.execution import Execution

logger = logging.getLogger(__name__)

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
        """Nobody waits: what the server does not take is left out, and a warning tells of it."""
        _set_memo(command.memo)
        search = {} if command.search is None else decode(command.search)
        if search:
            self._soon(self._set_what_fits(search))

    def set_checked(self, command: c.CheckedAttributes) -> None:
        """Set all, or nothing where the server does not take one, and answer."""
        self._soon(self._set_all(command))

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        self._run.keep(asyncio.get_running_loop().create_task(work))

    async def _set_what_fits(self, search: dict[str, Any]) -> None:
        async with self._in_order:
            fit, refused = await self.fitted(search)
        _set_search(fit)
        if not workflow.unsafe.is_replaying():
            for error in refused.values():
                logger.warning("%s: %s", self._run.pid, error.message)

    async def _set_all(self, command: c.CheckedAttributes) -> None:
        async with self._in_order:
            fit, refused = await self.fitted(decode(command.search) or {})
        if refused:
            self._run.refuse(command.seq, next(iter(refused.values())))
            return
        _set_memo(command.memo)
        _set_search(fit)
        self._run.answer(command.seq, True, encode(True))

    async def fitted(self, search: dict[str, Any]) -> tuple[Fitted, dict[str, PerdureError]]:
        """Search attributes as the server takes them, and why it does not take the others."""
        fit, refused = await workflow.execute_local_activity(
            requests.ATTRIBUTES, args=[search], result_type=list, **requests.PATIENT
        )
        return dict(fit), dict(refused)


def _set_memo(encoded: bytes | None) -> None:
    memo = {} if encoded is None else decode(encoded)
    if memo:
        workflow.upsert_memo(memo)


def _set_search(fit: Fitted) -> None:
    if fit:
        workflow.upsert_search_attributes(
            [_KEYS[kind](name).value_set(value) for name, (kind, value) in fit.items()]
        )
