"""The types of fields that refer to entries or are made of other types; fields and records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runtime.config.documents import Located, located, plain
from runtime.config.place import Place, Plain, Reference, Type, shown
from runtime.config.problems import nearest, suggest
from runtime.errors import PerdureError
from runtime.ids import EntryId


@dataclass(frozen=True)
class Ref:
    """The id of an entry of one of `kinds`; one without a namespace is relative to its entry's."""

    kinds: frozenset[str]

    def read(self, node: Located, place: Place) -> Any:
        if not isinstance(node.value, str):
            hint = f"write the id of a {' or '.join(sorted(self.kinds))} as namespace:name"
            place.reject(node, f"{shown(node)} is not an entry id", hint)
            return None
        try:
            target = str(EntryId.parse(node.value, place.entry.namespace))
        except PerdureError:
            place.reject(node, f"{shown(node)} is not an entry id", "write it as namespace:name")
            return None
        place.references.append(Reference(target, self.kinds, place, node))
        return target

    def references(self, value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value


@dataclass(frozen=True)
class ListOf:
    """A list of one type, with at least `minimum` items."""

    item: Type
    minimum: int = 0

    def read(self, node: Located, place: Place) -> Any:
        if not isinstance(node.value, list):
            nested = isinstance(node.value, dict)
            hint = "write a list of maps" if nested else f"write [{node.value}]"
            place.reject(node, f"{shown(node)} is not a list", hint)
            return None
        if len(node.value) < self.minimum:
            place.reject(node, "the list is too short", f"write at least {self.minimum}")
        return [
            self.item.read(each, place.at(f"[{index}]")) for index, each in enumerate(node.value)
        ]

    def references(self, value: Any) -> Iterator[str]:
        for each in value or ():
            yield from self.item.references(each)


@dataclass(frozen=True)
class Anything(Plain):
    """Plain data of any shape."""

    def read(self, node: Located, place: Place) -> Any:
        return plain(node)


def _empty_as_map(node: Located) -> Located:
    """Lua has one empty table, which arrives as a list."""
    return replace(node, value={}) if node.value == [] and node.origin else node


@dataclass(frozen=True)
class MapOf:
    """A map from texts, read by `keys` where it is given, to one type."""

    item: Type
    keys: Type | None = None

    def read(self, node: Located, place: Place) -> Any:
        node = _empty_as_map(node)
        if not isinstance(node.value, dict):
            place.reject(node, f"{shown(node)} is not a map", "write key: value pairs")
            return None
        if self.keys:
            for key, each in node.value.items():
                self.keys.read(replace(each, value=key), place.at(key))
        return {key: self.item.read(each, place.at(key)) for key, each in node.value.items()}

    def references(self, value: Any) -> Iterator[str]:
        for each in (value or {}).values():
            yield from self.item.references(each)


@dataclass(frozen=True)
class Field:
    """One field of a record.

    `default` is in YAML notation, as a user would write it; None is none. For a record, {} stands
    for one of defaults.
    """

    type: Type
    default: Any = None
    doc: str = ""
    required: bool = False


@dataclass(frozen=True)
class Record:
    """A map with fields of its own.

    `aliases` gives other names of fields. `ignored` names fields that the Wippy runtime has and
    this one does not act on: they are left out with a warning. A field given as null is not given.
    """

    fields: Mapping[str, Field]
    aliases: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()

    def read(self, node: Located, place: Place) -> Any:
        node = _empty_as_map(node)
        if not isinstance(node.value, dict):
            place.reject(node, f"{shown(node)} is not a map", f"its fields are {self._names()}")
            return None
        given: dict[str, tuple[str, Located]] = {}
        misspelt: set[str | None] = set()
        for name, item in node.value.items():
            real = self.aliases.get(name, name)
            if name in self.ignored:
                place.at(name).warn(item, "it has no effect here")
            elif real not in self.fields:
                known = {*self.fields, *self.aliases}
                hint = suggest(name, known, "the fields are {}")
                place.reject(replace(item, value=name), f'unknown field "{name}"', hint)
                misspelt.add(nearest(name, known))
            elif real in given:
                place.at(name).reject(item, f"it is another name of {real}", "write one of them")
            elif item.value is not None or isinstance(self.fields[real].type, Anything):
                given[real] = (name, item)
        return {
            name: self._field(name, each, given.get(name), node, place, name in misspelt)
            for name, each in self.fields.items()
        }

    def _field(
        self,
        name: str,
        spec: Field,
        given: tuple[str, Located] | None,
        node: Located,
        place: Place,
        misspelt: bool,
    ) -> Any:
        if given:
            return spec.type.read(given[1], place.at(given[0]))
        if spec.required:
            if not misspelt:
                place.reject(node, f'the field "{name}" is missing', f"add {name}: {spec.doc}")
            return None
        if spec.default is None:
            return None
        return spec.type.read(located(spec.default), place.at(name))

    def _names(self) -> str:
        return ", ".join(sorted(self.fields))

    def references(self, value: Any) -> Iterator[str]:
        for name, each in self.fields.items() if value else ():
            yield from each.type.references(value.get(name))
