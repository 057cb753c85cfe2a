"""Histories as JSON that people can read, and that becomes the very same history again.

JSON has fewer types than a history. A map with one key that begins with "$" stands for what it has
not: `$value` for an encoded payload, `$bytes` (base64), `$map` (pairs, for keys that are no texts),
`$float` (NaN and infinities), `$error`. Everything else is itself.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from hosts import sources
from hosts.durable.code import source_of
from hosts.durable.records import Record
from journal.records import RunRow
from journal.store import Store
from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError
from runtime.lua.machine import Definition

FORMAT: Final = "perdure.history"
VERSION: Final = 1


def to_json(value: Any) -> Any:
    """A value of a record in JSON's types."""
    if isinstance(value, bytes):
        return _payload(value)
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return _mapping(value, to_json)
    return value


def from_json(value: Any) -> Any:
    """What `to_json` was given. Raises PerdureError INVALID for what it does not give."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, content),) = value.items()
        if key == "$value":
            return encode(_from_plain(content))
        if key == "$bytes":
            return base64.b64decode(content)
        if key == "$map":
            return {from_json(each): from_json(item) for each, item in content}
        if key.startswith("$"):
            raise PerdureError(Kind.INVALID, f"an export has no {key}")
    return {key: from_json(item) for key, item in value.items()}


def _payload(data: bytes) -> Any:
    """An encoded value as it reads, where it can be had back from that."""
    try:
        content = _to_plain(decode(data))
        if encode(_from_plain(content)) == data:
            return {"$value": content}
    except Exception:  # it is no encoded value, then
        pass
    return {"$bytes": base64.b64encode(data).decode()}


def _to_plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, PerdureError):
        fields = (value.kind, value.message, value.retryable, value.details)
        return {"$error": [*map(_to_plain, fields), value.context, value.trace]}
    if isinstance(value, list):
        return [_to_plain(item) for item in value]
    return _mapping(value, _to_plain) if isinstance(value, dict) else value


def _from_plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, content),) = value.items()
        if key == "$float":
            return float(content)
        if key == "$bytes":
            return base64.b64decode(content)
        if key == "$map":
            return {_from_plain(each): _from_plain(item) for each, item in content}
        if key == "$error":
            kind, message, retryable, details, context, trace = map(_from_plain, content)
            return PerdureError(kind, message, retryable, details, context=context, trace=trace)
    return {key: _from_plain(item) for key, item in value.items()}


def _mapping(value: dict[Any, Any], convert: Any) -> dict[str, Any]:
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: convert(item) for key, item in value.items()}
    return {"$map": [[convert(key), convert(item)] for key, item in value.items()]}


#: `at` and `text` of each record of a history, for the reader.
Timeline = Callable[[list[tuple[int, Record]], RunRow], Iterable[Any]]


def exported(store: Store, number: int, row: RunRow, timeline: Timeline) -> dict[str, Any]:
    """A run as JSON: how it stands, its source, its pending activities, its history; with an open
    one the children that it may wait for."""
    children: dict[int, dict[int, tuple[int, RunRow]]] = {}
    for each, child in store.runs(on_bad=lambda error: None) if row.is_open else ():
        # Of those that go on for one another the last comes last.
        children.setdefault(child.parent, {})[child.parent_seq] = (each, child)

    def document(number: int, row: RunRow) -> dict[str, Any]:
        awaited = children.get(number, {}).values() if row.is_open else ()
        return {
            **_exported(store, number, row, timeline),
            "children": [
                document(each, child)
                for each, child in awaited
                if child.is_open or any(not row.seq for row in store.outbox_of(each))
            ],
        }

    return document(number, row)


def _exported(store: Store, number: int, row: RunRow, timeline: Timeline) -> dict[str, Any]:
    history = store.history(number)
    digests = {source_of(row, history[0][1][1]), history[0][1][1]["source"]} if history else set()
    return {
        "format": FORMAT,
        "version": VERSION,
        "journal": store.journal_id,
        "number": number,
        "run": to_json(row._asdict()),
        "history": [
            {"seq": seq, "at": told["at"], "text": told["text"], "record": to_json(record)}
            for (seq, record), told in zip(history, timeline(history, row), strict=True)
        ],
        "activities": {str(each.seq): to_json(each.row) for each in store.activities_of(number)},
        "sources": {digest.hex(): _source(store.source(digest)) for digest in sorted(digests)},
    }


class Imported:
    """An export that was read back.

    Attributes:
        journal, number: where it was.
        row: how the run stood.
        records: its history.
        activities: what the journal keeps of those that are pending, by number.
        sources: code by content hash.
        children: those that it may wait for, by the number of the request that each is.

    Raises PerdureError INVALID, with what is wrong, for what is no export.
    """

    def __init__(self, document: Any) -> None:
        try:
            if document["format"] != FORMAT:
                raise PerdureError(Kind.INVALID, f"this is no export: its format is not {FORMAT}")
            if document["version"] > VERSION:
                raise PerdureError(
                    Kind.INVALID,
                    f"this export has version {document['version']}, and this Perdure reads up to "
                    f"{VERSION}: use the newer Perdure that wrote it",
                )
            self.journal: str = document["journal"]
            self.number: int = document["number"]
            self.row = RunRow(**from_json(document["run"]))
            self.records: Sequence[Record] = [
                from_json(each["record"]) for each in document["history"]
            ]
            self.activities: dict[int, list[Any]] = {
                int(seq): from_json(row) for seq, row in document["activities"].items()
            }
            self.sources = {
                bytes.fromhex(digest): _blob(source)
                for digest, source in document["sources"].items()
            }
            children = [Imported(each) for each in document.get("children", ())]
            self.children = {child.row.parent_seq: child for child in children}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            missing = f"it has no field {error}" if isinstance(error, KeyError) else str(error)
            text = f"this is no export of a history: {missing}"
            raise PerdureError(Kind.INVALID, text) from error

    def family(self) -> Iterator[Imported]:
        """It, and all below it."""
        yield self
        for child in self.children.values():
            yield from child.family()


def _source(blob: bytes | None) -> Any:
    if blob is None:
        return None
    known = sources.unpack(blob)
    if sources.pack(known) != blob:
        return to_json(blob)
    return {entry: definition._asdict() for entry, definition in known.items()}


def _blob(source: Any) -> bytes | None:
    if source is None or "$bytes" in source:
        blob: bytes | None = from_json(source)
        return blob
    return sources.pack({entry: Definition(**fields) for entry, fields in source.items()})
