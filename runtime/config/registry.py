"""The registry: an immutable snapshot of the entries of an application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.config.declarations import Declaration
from runtime.config.documents import Located, plain
from runtime.config.problems import suggest
from runtime.errors import Kind, PerdureError

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Entry:
    """One checked entry.

    `id` is `namespace:name`. `data` holds every field of the kind, defaults filled in, as kinds.py
    describes them. `file` is the absolute path of the YAML file, `line` (from 1) where it begins.
    `declaration` is what was checked. Treat `meta` and `data` as read-only: all readers share them.
    """

    id: str
    kind: str
    meta: Mapping[str, Any]
    data: Mapping[str, Any]
    file: str = ""
    line: int = 0
    declaration: Declaration | None = field(default=None, compare=False, repr=False)

    @property
    def written(self) -> dict[str, Any]:
        """Its fields as they were written, in YAML's notation; a source as its text."""
        body = self.declaration.body if self.declaration else {}
        fields = {key: node for key, node in body.items() if key not in ("kind", "meta")}
        written: dict[str, Any] = plain(Located(fields))
        return written

    @property
    def namespace(self) -> str:
        return self.id.rpartition(":")[0]

    @property
    def name(self) -> str:
        return self.id.rpartition(":")[2]


class Registry:
    """Entries by id. Never changes; a new configuration is a new registry."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = {entry.id: entry for entry in sorted(entries, key=lambda entry: entry.id)}
        self._by_kind: dict[str, list[Entry]] = {}
        for entry in self._entries.values():
            self._by_kind.setdefault(entry.kind, []).append(entry)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, entry_id: str) -> bool:
        return entry_id in self._entries

    def get(self, entry_id: str) -> Entry:
        """The entry of this id; raises PerdureError NOT_FOUND with the nearest id there is."""
        entry = self._entries.get(entry_id)
        if entry is None:
            hint = suggest(entry_id, self._entries)
            message = f'entry "{entry_id}" not found'
            raise PerdureError(Kind.NOT_FOUND, f"{message}; {hint}" if hint else message)
        return entry

    def all(self) -> list[Entry]:
        """Every entry, sorted by id."""
        return list(self._entries.values())

    def of_kind(self, *kinds: str) -> list[Entry]:
        """The entries of these kinds, sorted by kind in the order given, then by id."""
        return [entry for kind in kinds for entry in self._by_kind.get(kind, ())]

    def find(self, criteria: Mapping[str, Any]) -> list[Entry]:
        """The entries that meet all criteria, sorted by id; {} finds every entry.

        A key is `id`, `kind`, `name`, `namespace`, or a dotted path that begins with `meta` or
        `data`, such as `meta.type`; it is met by an equal value. Raises PerdureError INVALID for
        any other key.
        """
        for key in criteria:
            if key not in _ATTRIBUTES and key.partition(".")[0] not in ("meta", "data"):
                raise PerdureError(
                    Kind.INVALID,
                    f'entries cannot be found by "{key}": use id, kind, name, namespace,'
                    " meta.… or data.…",
                )
        kind = criteria.get("kind")
        among = self._by_kind.get(kind, ()) if isinstance(kind, str) else self._entries.values()
        return [
            entry
            for entry in among
            if all(_value(entry, key) == wanted for key, wanted in criteria.items())
        ]


_ATTRIBUTES = ("id", "kind", "name", "namespace")


def _value(entry: Entry, key: str) -> Any:
    if key in _ATTRIBUTES:
        return getattr(entry, key)
    first, *rest = key.split(".")
    value: Any = entry.meta if first == "meta" else entry.data
    for name in rest:
        value = value.get(name, _MISSING) if isinstance(value, Mapping) else _MISSING
    return value
