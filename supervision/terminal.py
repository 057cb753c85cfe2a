"""Programs: process entries that the command line runs, with io on the terminal."""

from __future__ import annotations

from typing import Any, Final

from runtime.config.check import check
from runtime.config.declarations import Declaration
from runtime.config.documents import Located
from runtime.config.loader import Loaded
from runtime.config.problems import Findings, suggest
from runtime.config.registry import Entry, Registry
from runtime.errors import Kind, PerdureError
from runtime.ids import EntryId

#: The terminal host of an application that declares none.
TERMINAL: Final = "perdure:terminal"


def commands(registry: Registry) -> dict[str, list[Entry]]:
    """Process entries by the name of their command, `meta.command.name`."""
    found: dict[str, list[Entry]] = {}
    for entry in registry.of_kind("process.lua"):
        command = entry.meta.get("command")
        if isinstance(command, dict) and isinstance(command.get("name"), str):
            found.setdefault(command["name"], []).append(entry)
    return found


def program_named(registry: Registry, command: str) -> Entry:
    """The process entry of a command.

    Raises PerdureError NOT_FOUND with the commands there are, CONFLICT when two have that name.
    """
    known = commands(registry)
    entries = known.get(command, [])
    if len(entries) > 1:
        ids = " and ".join(entry.id for entry in entries)
        text = f'the command "{command}" is that of {ids}: run one with --exec ID'
        raise PerdureError(Kind.CONFLICT, text)
    if not entries:
        for entry in registry.of_kind("process.python"):
            _refuse_python(entry, command)
        hint = suggest(
            command, known, "there are no commands: give a process.lua a meta.command.name"
        )
        listed = "".join(f"\n  {_described(name, known[name][0])}" for name in sorted(known))
        text = f'there is no command "{command}"'
        raise PerdureError(Kind.NOT_FOUND, "; ".join(filter(None, (text, hint))) + listed)
    return entries[0]


def _refuse_python(entry: Entry, command: str) -> None:
    given = entry.meta.get("command")
    if isinstance(given, dict) and given.get("name") == command:
        text = (
            f'the command "{command}" is that of {entry.id}, a process.python, and only a '
            "process.lua runs on a terminal: have one that spawns it, or calls a function.python"
        )
        raise PerdureError(Kind.INVALID, text)


def program(registry: Registry, entry_id: str) -> Entry:
    """The process entry of this id. Raises PerdureError NOT_FOUND, or INVALID for another kind."""
    entry = registry.get(entry_id)
    if entry.kind != "process.lua":
        known = (each.id for each in registry.of_kind("process.lua"))
        hint = suggest(entry_id, known, "name one of {}")
        text = f"{entry_id} is a {entry.kind}, and only a process.lua runs on a terminal; {hint}"
        raise PerdureError(Kind.INVALID, text)
    return entry


def with_terminal(loaded: Loaded) -> tuple[Loaded, str]:
    """The application with a terminal host, and that host's id."""
    hosts = loaded.registry.of_kind("terminal.host")
    if hosts:
        return loaded, hosts[0].id
    body = {"kind": Located("terminal.host")}
    declaration = Declaration(EntryId.parse(TERMINAL), body, loaded.source_folder, 0)
    added = check([declaration], loaded.source_folder, Findings())
    registry = Registry([*loaded.registry.all(), *added])
    return loaded._replace(registry=registry), TERMINAL


def exit_code(result: Any) -> int:
    """The exit code that a program's result stands for.

    A number is itself, where it can be one (0 to 255), else 1; false is 1; true, nil and anything
    else is 0.
    """
    if result is False:
        return 1
    if isinstance(result, (int, float)) and not isinstance(result, bool):
        return int(result) if result in range(256) else 1
    return 0


def _described(name: str, entry: Entry) -> str:
    command = entry.meta["command"]
    text = command.get("short") or command.get("description") or entry.meta.get("comment")
    return f"{name}  {text}" if text else name
