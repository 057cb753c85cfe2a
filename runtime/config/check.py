"""Declarations to entries: every field read by its kind, every reference followed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime.config.declarations import Declaration
from runtime.config.documents import Located, SourceText
from runtime.config.fields import Anything, MapOf
from runtime.config.kinds import KINDS, kind_named
from runtime.config.place import Place, Reference, shown
from runtime.config.problems import Findings, Problem, suggest
from runtime.config.registry import Entry

_META = MapOf(Anything())


def check(declarations: Sequence[Declaration], folder: Path, findings: Findings) -> list[Entry]:
    """The entries that are declared; those of unknown kinds are reported and left out.

    An entry with a reported field is kept, so that what refers to it is not reported as well; nor
    is what refers to none, where entries could not be read.
    """
    first: dict[str, Declaration] = {}
    for declaration in declarations:
        _reject_duplicate(declaration, first, findings)
    references: list[Reference] = []
    entries = [_entry(each, folder, findings, references) for each in first.values()]
    kinds = {each: _kind_of(declaration) for each, declaration in first.items()}
    for reference in references:
        _follow(reference, kinds, findings.incomplete)
    return [entry for entry in entries if entry]


def _reject_duplicate(
    declaration: Declaration, first: dict[str, Declaration], findings: Findings
) -> None:
    entry_id = str(declaration.id)
    other = first.setdefault(entry_id, declaration)
    if other is not declaration:
        message = f"declared twice: the first is at {other.file}:{other.line}"
        findings.problems.append(
            Problem(str(declaration.file), declaration.line, entry_id, message, "rename one")
        )


def _kind_of(declaration: Declaration) -> str:
    node = declaration.body.get("kind")
    return node.value if node and isinstance(node.value, str) else ""


def _entry(
    declaration: Declaration, folder: Path, findings: Findings, references: list[Reference]
) -> Entry | None:
    place = Place(declaration.id, declaration.file, folder, findings, references)
    name = _kind_of(declaration)
    kind = kind_named(name)
    if kind is None:
        _reject_kind(declaration, name, place)
        return None
    meta = declaration.body.get("meta")
    fields = {key: node for key, node in declaration.body.items() if key not in ("kind", "meta")}
    body = Located(fields, declaration.line)
    data = kind.record.read(body, place) if kind.record else Anything().read(body, place)
    return Entry(
        str(declaration.id),
        name,
        _META.read(meta, place.at("meta")) if meta and meta.value is not None else {},
        _completed(declaration, name, data, folder),
        str(declaration.file),
        declaration.line,
        _kept(declaration, data.get("source")),
    )


def _kept(declaration: Declaration, source: Any) -> Declaration:
    """The declaration with its source as it was read: the file may say something else later."""
    node = declaration.body.get("source")
    if node is None or not isinstance(source, SourceText):
        return declaration
    return replace(declaration, body={**declaration.body, "source": replace(node, value=source)})


def _completed(
    declaration: Declaration, kind: str, data: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """The data with the fields that follow from others."""
    if kind == "temporal.worker":
        return {**data, "journal": data["client"]}
    source = data.get("source")
    if isinstance(source, SourceText):
        return {
            **data,
            "source": source.text,
            "source_path": source.path,
            "source_line": source.line,
            "source_name": _name_of(source, declaration, folder),
        }
    return data


def _name_of(source: SourceText, declaration: Declaration, folder: Path) -> str:
    """What messages call a source: its file, or for one inline, whose lines are not those of the
    YAML file, the entry's id. From the application's folder on, for Lua shows 59 bytes at most."""
    entry_id = str(declaration.id)
    inline = source.path in (str(declaration.file), entry_id)
    return entry_id if inline else os.path.relpath(source.path, folder)


def _reject_kind(declaration: Declaration, name: str, place: Place) -> None:
    node = declaration.body.get("kind")
    if node is None:
        hint = suggest("kind", declaration.body, "add kind:, such as function.lua")
        place.reject(Located(None, declaration.line), "an entry has no kind", hint)
    else:
        place.reject(node, f"{shown(node)} is not a kind", suggest(name, KINDS, "the kinds are {}"))


def _follow(reference: Reference, kinds: Mapping[str, str], incomplete: bool) -> None:
    """Report a reference that leads nowhere, or to an entry of the wrong kind."""
    target, wanted, place, node = reference
    expected = " or ".join(sorted(wanted))
    kind = kinds.get(target)
    if kind is None and incomplete:
        return
    if kind is None:
        right = [entry_id for entry_id, kind in kinds.items() if kind in wanted]
        none = f"add an entry of kind {expected}"
        hint = suggest(target, right, "entries of the right kind: {}" if right else none)
        place.reject(node, f'there is no entry "{target}"', hint)
    elif kind not in wanted and kind_named(kind):
        place.reject(node, f"{target} is a {kind}", f"name a {expected}")
