"""Fields that entries with code have in common: where it is, and what it may use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from runtime.config.documents import Located
from runtime.config.fields import Field, ListOf, MapOf, Ref
from runtime.config.place import Place, Plain, shown
from runtime.config.scalars import Choice, Source, Text

#: The modules that an entry can list.
MODULES: Final = (
    "process",
    "channel",
    "errors",
    "payload",
    "funcs",
    "time",
    "uuid",
    "ctx",
    "json",
    "logger",
    "workflow",
    "io",
    "yaml",
    "base64",
    "hash",
    "crypto",
    "env",
    "metrics",
    "events",
    "store",
    "registry",
)


@dataclass(frozen=True)
class Alias(Plain):
    """The name under which a library is imported: an identifier that is no module's."""

    def read(self, node: Located, place: Place) -> Any:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", node.value):
            hint = "use letters, digits and _, not beginning with a digit"
            place.reject(node, f"{shown(node)} is not a Lua name", hint)
        elif node.value in MODULES:
            place.reject(node, f"{shown(node)} is the name of a module", "choose another alias")
        return node.value


SOURCE: Final = Field(Source(), doc="file:// and a path, or the source itself", required=True)
METHOD: Final = Field(Text(), "", 'the function to run; "": the source itself is its body')
_LIBRARY = Ref(frozenset({"library.lua"}))
CODE: Final[Mapping[str, Field]] = {
    "source": SOURCE,
    "modules": Field(ListOf(Choice(MODULES, "module")), [], "modules that it can require"),
    "imports": Field(
        MapOf(Ref(frozenset({"library.lua"})), Alias()), {}, "alias: id of a library.lua"
    ),
}
IGNORED_IN_CODE: Final = frozenset({"limits", "security", "ttl"})


def target(form: str) -> Field:
    """The field that names what a Python entry runs."""
    return Field(Text(r"[^\W\d]\w*(\.\w+)*:[^\W\d]\w*(\.\w+)*", form), doc=form, required=True)
