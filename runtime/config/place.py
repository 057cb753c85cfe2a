"""Where a value is being read, what a field type is, and how a message names a value.

A type is plain data with two methods: `read` turns what was written into what `Entry.data` holds
and reports to its Place; `references` gives the entry ids in a value that was read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from runtime.config.documents import Located
from runtime.config.problems import Findings, Problem
from runtime.ids import EntryId


class Reference(NamedTuple):
    """An entry id found in a field, and the kinds it may point to."""

    target: str
    kinds: frozenset[str]
    place: Place
    node: Located


@dataclass(frozen=True, slots=True)
class Place:
    """Which field of which entry is being read, and where findings about it go.

    `folder` is the application's. `path` is the field's, dotted, or "" for the entry itself.
    """

    entry: EntryId
    file: Path
    folder: Path
    findings: Findings
    references: list[Reference] = field(default_factory=list)
    path: str = ""

    def at(self, name: str) -> Place:
        """The place of a field (or, with brackets, an item) of what is here."""
        dot = "." if self.path and name[0] != "[" else ""
        return replace(self, path=f"{self.path}{dot}{name}")

    def reject(self, node: Located, message: str, hint: str = "") -> None:
        """Report a problem with the value here."""
        self.findings.problems.append(self._finding(node, message, hint))

    def warn(self, node: Located, message: str, hint: str = "") -> None:
        """Report something that stops nothing."""
        self.findings.warnings.append(self._finding(node, message, hint))

    def _finding(self, node: Located, message: str, hint: str) -> Problem:
        text = f"{self.path}: {message}" if self.path else message
        file = node.origin or str(self.file)
        return Problem(file, 0 if node.origin else node.line, str(self.entry), text, hint)


class Type(Protocol):
    """What every field type can do."""

    def read(self, node: Located, place: Place) -> Any:
        """The value as `Entry.data` holds it; after a report the answer means nothing."""
        ...

    def references(self, value: Any) -> Iterator[str]:
        """The entry ids in a value that was read."""
        ...


class Plain:
    """Base of the types that refer to no entry."""

    def references(self, value: Any) -> Iterator[str]:
        return iter(())


def shown(node: Located) -> str:
    """A value as a message names it."""
    match node.value:
        case dict():
            return "a map"
        case list():
            return "a list"
        case bool():
            return str(node.value).lower()
        case str():
            text = node.value if len(node.value) <= 60 else f"{node.value[:57]}..."
            return f'"{text}"'
        case _:
            return str(node.value)
