"""Pinned sources: the code a run started on, kept in the journal by the hash of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgpack

from hosts.definitions import with_imports
from runtime.lua.machine import Definition


class Bundle:
    """A workflow's definition with all libraries it reaches, as the journal keeps it."""

    __slots__ = ("blob", "digest")

    def __init__(self, entry: str, known: Mapping[str, Definition]) -> None:
        self.blob = pack(with_imports(entry, known))
        self.digest = hashlib.sha256(self.blob).digest()


def pack(known: Mapping[str, Definition]) -> bytes:
    """Definitions as a bundle has them."""
    blob: bytes = msgpack.packb([[each, *known[each]] for each in sorted(known)])
    return blob


def unpack(blob: bytes) -> dict[str, Definition]:
    """The definitions of a bundle."""
    rows: list[list[Any]] = msgpack.unpackb(blob)
    return {row[0]: Definition(*row[1:]) for row in rows}


def is_bundle(blob: bytes, entry: str) -> bool:
    """Whether something is a bundle, and has a definition of an entry."""
    try:
        rows = msgpack.unpackb(blob)
    except ValueError:
        return False
    return isinstance(rows, list) and all(map(_is_row, rows)) and entry in (row[0] for row in rows)


def _is_row(row: Any) -> bool:
    if not isinstance(row, list) or [type(each) for each in row] != _ROW:
        return False
    *_, modules, imports, _ = row
    names = [*modules, *imports, *imports.values()]
    return all(isinstance(each, str) for each in names)


#: An entry id and the fields of a Definition.
_ROW: Final = [str, str, str, str, str, list, dict, bool]


def renamed(blob: bytes, digest: bytes) -> dict[str, Definition]:
    """The definitions under names of their own, beside those that are deployed now."""
    return {
        pinned_name(each, digest): known._replace(
            imports={alias: pinned_name(target, digest) for alias, target in known.imports.items()}
        )
        for each, known in unpack(blob).items()
    }


def pinned_name(entry: str, digest: bytes) -> str:
    """Name of a definition that only the runs started on it use."""
    return f"{entry}#{digest.hex()[:16]}"
