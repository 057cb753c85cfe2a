"""The check before anything starts: sources compile, methods exist, Python targets import."""

from __future__ import annotations

from collections.abc import Mapping

from hosts.functions import PythonFunctions
from runtime.clock import SystemClock
from runtime.config.problems import Problem, suggest
from runtime.config.registry import Entry, Registry
from runtime.errors import PerdureError
from runtime.lua.machine import Definition, Machine

#: A chunk that runs longer than this while it defines its functions is not judged, instructions.
_FUEL = 10_000_000


def preflight(
    registry: Registry, definitions: Mapping[str, Definition], python: PythonFunctions
) -> list[Problem]:
    """All problems that starting would run into; adds the Python functions to `python`."""
    problems: list[Problem] = []
    machine = Machine("check", 1, SystemClock(), fuel=_FUEL)
    machine.define(definitions)
    for id, definition in definitions.items():
        entry = registry.get(id)
        try:
            offered = machine.inspect(id)
        except PerdureError as error:
            problems.append(_problem(entry, error.message, "correct the Lua source"))
            continue
        if offered is not None:
            hint = suggest(definition.method, offered, "define it, or change method")
            problems.append(
                _problem(
                    entry, f'{definition.chunk} defines no function "{definition.method}"', hint
                )
            )
    for entry in registry.of_kind("function.python"):
        try:
            python.add(entry.id, entry.data["target"], entry.data["pool"])
        except PerdureError as error:
            problems.append(_problem(entry, error.message, "correct the target"))
    return problems


def _problem(entry: Entry, message: str, hint: str) -> Problem:
    return Problem(entry.file, entry.line, entry.id, message, hint)
