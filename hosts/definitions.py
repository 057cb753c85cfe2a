"""What VMs need to know of the registry's entries."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.config.registry import Entry, Registry
from runtime.errors import Kind, PerdureError
from runtime.lua.machine import Definition

#: Kinds whose source a machine runs.
LUA_KINDS = ("function.lua", "library.lua", "process.lua", "workflow.lua")


def definition(entry: Entry) -> Definition:
    """The definition of one Lua entry."""
    data = entry.data
    pool = data.get("pool") or {}
    return Definition(
        kind=entry.kind,
        source=data["source"],
        chunk=data["source_name"],
        method=data.get("method") or "",
        modules=list(data.get("modules") or ()),
        imports=dict(data.get("imports") or {}),
        inline=entry.kind == "function.lua" and pool.get("type", "inline") == "inline",
    )


def definitions(registry: Registry) -> dict[str, Definition]:
    """All Lua entries."""
    return {entry.id: definition(entry) for entry in registry.of_kind(*LUA_KINDS)}


def check_workflow(known: Mapping[str, Definition], entry_id: str, host_id: str) -> None:
    """Raise PerdureError NOT_FOUND or INVALID for what a workflow host cannot start."""
    found = known.get(entry_id)
    if found is None:
        raise PerdureError(Kind.NOT_FOUND, f"{entry_id} does not exist")
    if found.kind != "workflow.lua":
        text = f"{entry_id} is a {found.kind}: {host_id} runs workflow.lua"
        raise PerdureError(Kind.INVALID, text)


def with_imports(entry_id: str, known: Mapping[str, Definition]) -> dict[str, Definition]:
    """The definition of an entry and of all libraries that it reaches."""
    found: dict[str, Definition] = {}
    queue: list[str] = [entry_id]
    while queue:
        each = queue.pop()
        if each not in found and each in known:
            found[each] = known[each]
            queue.extend(known[each].imports.values())
    return found
