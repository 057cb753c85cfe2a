"""Change sets: entries created, updated and deleted, and the registry that comes of it.

An entry is given as `Entry` shows it: a map with `id`, `kind`, `meta` and `data`, the fields in
YAML's notation. What an update does not give of these stays as it was, and what it gives as it was
stays as it was written: its line, its file, its `${env:…}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from runtime.codec import encode
from runtime.config.check import check
from runtime.config.declarations import NAME, Declaration
from runtime.config.documents import MAX_DEPTH, Located, located, plain
from runtime.config.problems import ConfigurationError, Findings, Problem, suggest
from runtime.config.registry import Entry, Registry
from runtime.config.services import cycle_problems
from runtime.ids import EntryId

#: Where a message says that a value came from.
ORIGIN: Final = "change set"

#: Levels of a field's value, so that the file it is exported to is not nested too deeply.
_MAX_DEPTH: Final = MAX_DEPTH - 10
_KEYS: Final = ("id", "kind", "meta", "data")

Verb = Literal["create", "update", "delete"]


class Change(NamedTuple):
    """One change; `entry` is a map, or a Declaration from a YAML file, and None for a delete."""

    verb: Verb
    id: str
    entry: Mapping[str, Any] | Declaration | None = None


class Changed(NamedTuple):
    """What a change set makes of a registry."""

    registry: Registry
    #: Ids of the entries that differ or are gone, and of those that were updated to what they were.
    touched: frozenset[str]
    warnings: tuple[Problem, ...]


def change(registry: Registry, changes: Sequence[Change], folder: Path, source: Path) -> Changed:
    """Apply changes in their order, and check what comes of it as a boot would.

    Args:
        folder: the application's folder.
        source: the one with its YAML, from which a created entry's `file://` is taken.

    Raises ConfigurationError with all problems.
    """
    findings = Findings()
    declarations = {
        entry.id: entry.declaration for entry in registry.all() if entry.declaration is not None
    }
    for each in changes:
        try:
            _apply(each, declarations, source)
        except _Wrong as wrong:
            findings.problems.append(Problem(ORIGIN, 0, each.id, *wrong.args))
    entries = check(list(declarations.values()), folder, findings)
    new = Registry(_same_where_equal(entry, registry) for entry in entries)
    findings.problems += cycle_problems(new)
    if findings.problems:
        raise ConfigurationError(findings.problems)
    touched = differing(registry, new) | {each.id for each in changes}
    warnings = tuple(sorted(each for each in findings.warnings if each.entry in touched))
    return Changed(new, touched, warnings)


def differing(old: Registry, new: Registry) -> frozenset[str]:
    """Ids of the entries that are not the same in both."""
    ids = {entry.id for registry in (old, new) for entry in registry.all()}
    return frozenset(
        each for each in ids if each not in old or each not in new or old.get(each) != new.get(each)
    )


def entry_map(entry: Entry) -> dict[str, Any]:
    """An entry as change sets take it: id, kind, meta and data, as they were written."""
    return {"id": entry.id, "kind": entry.kind, "meta": dict(entry.meta), "data": entry.written}


def upserts(registry: Registry, declarations: Iterable[Declaration]) -> list[Change]:
    """Changes that bring entries of YAML files in: created, or updated where they are."""
    return [
        Change("update" if str(each.id) in registry else "create", str(each.id), each)
        for each in declarations
    ]


class _Wrong(Exception):
    """A change cannot be: message and hint."""


def _same_where_equal(entry: Entry, old: Registry) -> Entry:
    """The entry that all versions share while it does not change."""
    return old.get(entry.id) if entry.id in old and old.get(entry.id) == entry else entry


def _apply(change: Change, declarations: dict[str, Declaration], source: Path) -> None:
    old = declarations.get(change.id)
    if change.verb == "create":
        if old is not None:
            raise _Wrong("cannot be created: it is there", "update it, or choose another name")
    elif old is None:
        hint = suggest(change.id, declarations, "create it first")
        raise _Wrong(f"cannot be {change.verb}d: there is no such entry", hint)
    if change.verb == "delete":
        del declarations[change.id]
    elif isinstance(change.entry, Declaration):
        declarations[change.id] = change.entry
    else:
        declarations[change.id] = _declaration(change, old, source)


def _declaration(change: Change, old: Declaration | None, source: Path) -> Declaration:
    given = change.entry
    if not isinstance(given, Mapping):
        raise _Wrong("an entry is a map with id, kind, meta and data")
    for key in given:
        if key not in _KEYS:
            raise _Wrong(f'unknown key "{key}"', suggest(str(key), _KEYS, "an entry has {}"))
    namespace, _, name = change.id.rpartition(":")
    if not (re.fullmatch(NAME, namespace) and re.fullmatch(NAME, name)):
        raise _Wrong("is not an entry id", "write it as namespace:name")
    body = dict(old.body) if old else {}
    if "data" in given:
        body = {key: node for key, node in body.items() if key in ("kind", "meta")}
        for key, value in _map(given["data"], "data").items():
            if key in ("kind", "meta", "name"):
                raise _Wrong(f"data.{key}: it is no field", "give kind and meta beside data")
            body[key] = _node(value, old.body.get(key) if old else None)
    for key in ("kind", "meta"):
        if key in given:
            value = _map(given[key], key) if key == "meta" else given[key]
            body[key] = _node(value, old.body.get(key) if old else None)
    if "source" in body:
        here = source if old is None or old.file == Path(ORIGIN) else old.file.parent
        body["source"] = _absolute(body["source"], here)
    if old is not None:
        return Declaration(old.id, body, old.file, old.line)
    return Declaration(EntryId(namespace, name), body, Path(ORIGIN), 0)


def _map(value: Any, name: str) -> Mapping[str, Any]:
    """A map; Lua's one empty table is an empty list here."""
    if isinstance(value, Mapping):
        return value
    if value == [] or value is None:
        return {}
    raise _Wrong(f"{name} is not a map", "write key = value pairs")


def _node(value: Any, old: Located | None) -> Located:
    """The value as if it had been written; where it is what was written, that."""
    _check(value)
    same = old is not None and encode(plain(old)) == encode(value)
    return old if old is not None and same else located(value, ORIGIN)


def _check(value: Any, depth: int = 0) -> None:
    """Refuse what YAML cannot say."""
    if depth > _MAX_DEPTH:
        raise _Wrong(f"a value is nested deeper than {_MAX_DEPTH} levels", "make it flatter")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise _Wrong(f"the key {key!r} is not a text", "use texts as keys")
            _check_text(key)
            _check(item, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise _Wrong(f"{value} does not fit into 64 bits", "give it as text")
    elif isinstance(value, str):
        _check_text(value)
    elif not isinstance(value, (int, float, type(None))):
        kind = "text that is not UTF-8" if isinstance(value, bytes) else type(value).__name__
        raise _Wrong(f"a value is {kind}", "use texts, numbers, booleans, lists and maps")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Wrong(f"{text!a} is not Unicode", "use text without lone surrogates") from None


def _absolute(node: Located, here: Path) -> Located:
    """A change set is no file that a `file://` could be relative to: it is to `here`."""
    text = node.value
    if node.origin and isinstance(text, str) and text.startswith("file://"):
        return located(f"file://{here / text.removeprefix('file://')}", ORIGIN)
    return node


@dataclass
class ChangeSet:
    """Changes gathered one after the other, on top of a version of the registry."""

    #: Version that the changes were thought for; applying them to another is CONFLICT.
    base: int
    changes: list[Change] = field(default_factory=list)

    def create(self, entry: Mapping[str, Any]) -> ChangeSet:
        """Add an entry: a map with id, kind, meta and data."""
        self.changes.append(Change("create", _id_of(entry), entry))
        return self

    def update(self, entry: Mapping[str, Any]) -> ChangeSet:
        """Replace kind, meta and data of an entry; what is not given stays."""
        self.changes.append(Change("update", _id_of(entry), entry))
        return self

    def delete(self, entry_id: str) -> ChangeSet:
        """Take an entry out."""
        self.changes.append(Change("delete", entry_id))
        return self


def _id_of(entry: Any) -> str:
    """The id that an entry gives: a text, or a map with `ns` and `name`."""
    given = entry.get("id", "") if isinstance(entry, Mapping) else ""
    if isinstance(given, Mapping):
        return f"{given.get('ns', '')}:{given.get('name', '')}"
    return str(given)
