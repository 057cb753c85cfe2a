"""The check before anything starts: sources compile, methods exist, Python targets import."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import NamedTuple

from hosts.api import resolve_class
from hosts.definitions import LUA_KINDS, definitions, with_imports
from hosts.functions import PythonFunction, PythonFunctions
from hosts.modules import metrics
from runtime.clock import SystemClock
from runtime.config.problems import Problem, suggest
from runtime.config.registry import Entry, Registry
from runtime.config.temporal_kinds import lacking, lacking_credential
from runtime.errors import PerdureError
from runtime.lua.machine import Machine

#: A chunk that runs longer than this while it defines its functions is not judged, instructions.
_FUEL = 10_000_000


class Preflight(NamedTuple):
    """What a check has found: all problems, and the Python functions by id."""

    problems: list[Problem]
    functions: dict[str, PythonFunction]


def preflight(
    registry: Registry,
    python: PythonFunctions,
    running: Mapping[str, PythonFunction] = MappingProxyType({}),
    touched: frozenset[str] | None = None,
) -> Preflight:
    """Check that a registry can be run.

    Importing Python code has effects, so on a node that runs it comes last, and not at all when
    something else is wrong.

    Args:
        running: the Python functions that run now, by id.
        touched: ids of entries that differ from those that run; None: nothing runs.
    """
    problems = [*_lua_problems(registry, touched)]
    problems += _missing_libraries(registry)
    problems += _lacking_options(registry)
    problems += _lacking_credentials(registry)
    problems += _shared_journals(registry)
    problems += _shared_names(registry)
    functions: dict[str, PythonFunction] = {}
    if problems and touched is not None:
        return Preflight(problems, functions)
    for entry in registry.of_kind("function.python", "process.python"):
        if touched is not None and entry.id not in touched:
            functions[entry.id] = running[entry.id]
            continue
        try:
            functions[entry.id] = _prepared(entry, python)
        except PerdureError as error:
            hint = _place_of(error) or "correct the target"
            problems.append(_problem(entry, error.message, hint))
    return Preflight(problems, functions)


def _prepared(entry: Entry, python: PythonFunctions) -> PythonFunction:
    target = entry.data["target"]
    if entry.kind == "process.python":
        return PythonFunction(resolve_class(entry.id, target, python.folder), None)
    return python.prepare(entry.id, target, entry.data["pool"])


def _lua_problems(registry: Registry, touched: frozenset[str] | None) -> Iterator[Problem]:
    """What is wrong with the sources of entries that are touched, or reach what is."""
    known = definitions(registry)
    machine = Machine("check", "{check|", SystemClock(), fuel=_FUEL)
    machine.define(known)
    for entry_id, definition in known.items():
        if touched is not None and touched.isdisjoint(with_imports(entry_id, known)):
            continue
        entry = registry.get(entry_id)
        try:
            offered = machine.inspect(entry_id)
        except PerdureError as error:
            yield _problem(entry, error.message, "correct the Lua source")
            continue
        if offered is not None:
            hint = suggest(definition.method, offered, "define it, or change method")
            text = f'{definition.chunk} defines no function "{definition.method}"'
            yield _problem(entry, text, hint)


def _place_of(error: PerdureError) -> str:
    """Where a module of the user's raised when it was imported; "" when none did."""
    cause = error.__cause__
    if isinstance(cause, SyntaxError):
        return f"see {cause.filename}:{cause.lineno}"
    frames = traceback.extract_tb(cause.__traceback__ if cause else None)
    return f"see {frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _problem(entry: Entry, message: str, hint: str) -> Problem:
    return Problem(entry.file, entry.line, entry.id, message, hint)


def _missing_libraries(registry: Registry) -> list[Problem]:
    """Entries that need a library which is not installed."""
    clients = [] if find_spec("temporalio") else registry.of_kind("temporal.client")
    problems = [
        _problem(
            entry, "the Python package temporalio is not installed",
            'pip install "perdure[temporal]", or make it a journal.lmdb',
        )
        for entry in clients
    ]  # fmt: skip
    if metrics.available():
        return problems
    return problems + [
        _problem(entry, metrics.MISSING, "or leave it out of modules")
        for entry in registry.of_kind(*LUA_KINDS)
        if "metrics" in (entry.data.get("modules") or ())
    ]


def _lacking_options(registry: Registry) -> Iterator[Problem]:
    """Options of workers on a Temporal server that lack others."""
    for entry in registry.of_kind("temporal.worker"):
        lacks = lacking(entry.data["worker_options"])
        if lacks and registry.get(entry.data["client"]).kind == "temporal.client":
            name, other = lacks
            text = f"worker_options.{name}: it has no effect without {other}"
            yield _problem(entry, text, f"set worker_options.{other}, too, or leave it out")


def _lacking_credentials(registry: Registry) -> Iterator[Problem]:
    """Clients of a Temporal server that have not what their kind of authentication needs."""
    for entry in registry.of_kind("temporal.client"):
        auth = entry.data["auth"]
        names = lacking_credential(auth)
        if names:
            fields = " or ".join(f"auth.{name}" for name in names)
            text = f"auth.type {auth['type']} needs {fields}"
            yield _problem(entry, text, "set one of them, or leave auth out")


def _shared_journals(registry: Registry) -> list[Problem]:
    """Journals and stores of one application that mean the same folder."""
    owners: dict[str, str] = {}
    problems = []
    for entry in registry.of_kind("journal.lmdb", "store.lmdb"):
        owner = owners.setdefault(os.path.realpath(entry.data["path"]), entry.id)
        if owner != entry.id:
            text = f"path is that of {owner}: it has one owner"
            problems.append(_problem(entry, text, "give it a folder of its own"))
    return problems


def _shared_names(registry: Registry) -> list[Problem]:
    """Variables of one application that have the same name."""
    owners: dict[str, str] = {}
    problems = []
    for entry in registry.of_kind("env.variable"):
        name = entry.data["variable"]
        owner = owners.setdefault(name, entry.id) if name else entry.id
        if owner != entry.id:
            text = f'variable is "{name}", as that of {owner}'
            problems.append(_problem(entry, text, "give one of them another name"))
    return problems
