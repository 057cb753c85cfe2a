"""The fields of variables and of where their values are: what the Lua module `env` reads."""

from __future__ import annotations

from typing import Final

from runtime.config.fields import Field, ListOf, Record, Ref
from runtime.config.scalars import Flag, Text

STORAGE_KINDS: Final = frozenset({"env.storage.memory", "env.storage.os", "env.storage.router"})

#: Of env.storage.memory and env.storage.os.
STORAGE: Final = Record({}, ignored=frozenset({"lifecycle"}))

ROUTER: Final = Record(
    {
        "storages": Field(
            ListOf(Ref(STORAGE_KINDS), 1),
            doc="ids of storages: the first that has a value gives it, the first gets new ones",
            required=True,
        )
    },
    ignored=frozenset({"lifecycle"}),
)

VARIABLE: Final = Record(
    {
        "storage": Field(Ref(STORAGE_KINDS), doc="id of an env.storage.*", required=True),
        "variable": Field(
            Text(r"\w+", "DATABASE_URL"),
            None,
            "its name, for env.get and in its storage; none: env.get takes the id of the entry,"
            " and its storage the name of that",
        ),
        "default": Field(Text(), None, "its value where the storage has none"),
        "read_only": Field(Flag(), False, "true: env.set refuses it"),
    },
    ignored=frozenset({"lifecycle"}),
)
