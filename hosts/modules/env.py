"""The variables of a node and where their values are, for the Lua module `env`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from runtime.codec import decode_args, encode
from runtime.config.problems import suggest
from runtime.config.registry import Registry
from runtime.errors import Kind, PerdureError
from runtime.ids import EntryId
from runtime.inputs import ReplyTo
from runtime.routing.router import TRUE, Router

#: How many of the variables that there are an error lists.
_LISTED: Final = 20

#: A value is text; what is not UTF-8 is bytes.
Value = str | bytes


class Storage(Protocol):
    """Values by name."""

    def get(self, name: str) -> Value | None:
        """The value of a name, if it has one."""
        ...

    def set(self, name: str, value: Value) -> None:
        """Give a name a value. Raises PerdureError PERMISSION_DENIED where that cannot be."""
        ...


class MemoryStorage:
    """Values that last as long as the node runs."""

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}

    def get(self, name: str) -> Value | None:
        return self._values.get(name)

    def set(self, name: str, value: Value) -> None:
        self._values[name] = value


class OsStorage:
    """The environment of this process, to be read."""

    def __init__(self, storage_id: str) -> None:
        self._id = storage_id

    def get(self, name: str) -> Value | None:
        value = os.environ.get(name)
        if value is None:
            return None
        raw = os.fsencode(value)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw

    def set(self, name: str, value: Value) -> None:
        raise PerdureError(
            Kind.PERMISSION_DENIED,
            f"{self._id} is the environment of the process, which is only read: put an "
            "env.storage.memory before it in an env.storage.router",
        )


class RouterStorage:
    """Storages that are asked in turn; the first gets new values."""

    def __init__(self, storages: list[Storage]) -> None:
        self._storages = storages

    def get(self, name: str) -> Value | None:
        for storage in self._storages:
            if (value := storage.get(name)) is not None:
                return value
        return None

    def set(self, name: str, value: Value) -> None:
        self._storages[0].set(name, value)


class Variable(NamedTuple):
    """One env.variable."""

    id: str
    #: None when only its id names it.
    name: str | None
    key: str
    storage: Storage
    storage_id: str
    default: str | None
    read_only: bool

    def get(self) -> Value | None:
        """Its value, that of its storage before its default."""
        value = self.storage.get(self.key)
        return self.default if value is None else value


class Variables:
    """What the Lua module `env` asks for. Safe to use from any thread."""

    def __init__(self, registry: Registry, router: Router) -> None:
        self._router = router
        self._memories: dict[str, MemoryStorage] = {}
        self._variables: dict[str, Variable] = {}
        self.fit(registry)

    def fit(self, registry: Registry) -> None:
        """Have the variables that a registry names; what is set in memory stays."""
        storages: dict[str, Storage] = {**self._memories}
        variables: dict[str, Variable] = {}
        for entry in registry.of_kind("env.variable"):
            data = entry.data
            variable = Variable(
                entry.id,
                data["variable"],
                data["variable"] or EntryId.parse(entry.id).name,
                _storage(data["storage"], registry, storages),
                data["storage"],
                data["default"],
                data["read_only"],
            )
            variables[entry.id] = variable
            if variable.name is not None:
                variables[variable.name] = variable
        for storage_id, storage in storages.items():
            if isinstance(storage, MemoryStorage):
                self._memories[storage_id] = storage
        self._variables = variables

    def forget(self, registry: Registry) -> None:
        """Let go of storages in memory, and what is set in them, that a registry does not name."""
        for storage_id in list(self._memories):
            if storage_id not in registry:
                del self._memories[storage_id]

    def get(self, name: str) -> Value:
        """The value of a variable, by its name or the id of its entry.

        Raises PerdureError NOT_FOUND.
        """
        variable = self._variable(name)
        value = variable.get()
        if value is None:
            text = f"{name} has no value in {variable.storage_id}, and {variable.id} no default"
            raise PerdureError(Kind.NOT_FOUND, text)
        return value

    def set(self, name: str, value: Value) -> None:
        """Give a variable a value. Raises PerdureError NOT_FOUND, PERMISSION_DENIED."""
        variable = self._variable(name)
        if variable.read_only:
            raise PerdureError(Kind.PERMISSION_DENIED, f"{variable.id} is read_only")
        variable.storage.set(variable.key, value)

    def get_all(self) -> Mapping[str, Value]:
        """The values of all variables that have a name and a value."""
        return {
            name: value
            for name, variable in sorted(self._variables.items())
            if name == variable.name and (value := variable.get()) is not None
        }

    def ask(self, verb: str, pid: str, args: bytes, reply: ReplyTo | None) -> None:
        values = decode_args(args)
        if verb == "get":
            self._router.answer(reply, encode(self.get(*values)))
        elif verb == "get_all":
            self._router.answer(reply, encode(self.get_all()))
        elif verb == "set":
            self.set(*values)
            self._router.answer(reply, TRUE)

    def lost(self, prefix: str) -> None:
        """Nothing is kept for a slot."""

    def _variable(self, name: Value) -> Variable:
        variable = self._variables.get(name) if isinstance(name, str) else None
        if variable is None:
            shown = name if isinstance(name, str) else name.decode(errors="replace")
            hints = filter(None, (suggest(shown, self._variables), self._known()))
            text = f'there is no variable "{shown}"; {" ".join(hints)}'
            raise PerdureError(Kind.NOT_FOUND, text)
        return variable

    def _known(self) -> str:
        ids = sorted({each.id for each in self._variables.values()})
        if not ids:
            return "there are none: add an entry of kind env.variable"
        more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
        return f"the variables are {', '.join(ids[:_LISTED])}{more}"


def _storage(storage_id: str, registry: Registry, built: dict[str, Storage]) -> Storage:
    if storage_id not in built:
        entry = registry.get(storage_id)
        if entry.kind == "env.storage.memory":
            built[storage_id] = MemoryStorage()
        elif entry.kind == "env.storage.os":
            built[storage_id] = OsStorage(storage_id)
        else:
            parts = [_storage(each, registry, built) for each in entry.data["storages"]]
            built[storage_id] = RouterStorage(parts)
    return built[storage_id]
