"""Which services need which others, and cycles in what entries need."""

from __future__ import annotations

from runtime.config.kinds import kind_named
from runtime.config.problems import Problem
from runtime.config.registry import Registry
from runtime.config.service_fields import SERVICES
from runtime.config.start_order import start_cycles
from runtime.graph import find_cycles


def service_dependencies(registry: Registry) -> dict[str, set[str]]:
    """Every service, and the services it needs: its `requires` and the references in its fields.

    A supervisor does not need its children: they are what it does.
    """
    graph = _dependencies(registry, SERVICES)
    for entry in registry.of_kind("process.supervisor"):
        lifecycle = entry.data["lifecycle"] or {}
        graph[entry.id] = graph.keys() & set(lifecycle.get("requires") or ())
    return graph


def families(registry: Registry) -> dict[str, tuple[str, ...]]:
    """Every supervisor, and its children from left to right."""
    known = {entry.id for entry in registry.of_kind(*SERVICES)}
    return {
        entry.id: tuple(each for each in entry.data["children"] or () if each in known)
        for entry in registry.of_kind("process.supervisor")
    }


def cycle_problems(registry: Registry) -> list[Problem]:
    """A problem for each cycle among services, libraries, and storages of variables."""
    services = start_cycles(service_dependencies(registry), families(registry))
    libraries = find_cycles(_dependencies(registry, frozenset({"library.lua"})))
    storages = find_cycles(_dependencies(registry, frozenset({"env.storage.router"})))
    kinds = (
        ("services need each other", services, "remove one of these needs"),
        (
            "libraries import each other",
            libraries,
            "move what they share into a library of its own",
        ),
        (
            "storages ask each other",
            storages,
            "remove one of them from the storages of another",
        ),
    )
    problems = []
    for what, cycles, hint in kinds:
        for cycle in cycles:
            first = registry.get(cycle[0])
            message = f"{what}: {' -> '.join(cycle)}"
            problems.append(Problem(first.file, first.line, first.id, message, hint))
    return problems


def family_problems(registry: Registry) -> list[Problem]:
    """A problem for each service that two supervisors name, or one of them twice."""
    supervisors: dict[str, str] = {}
    problems = []
    for supervisor, children in families(registry).items():
        for index, child in enumerate(children):
            other = supervisors.setdefault(child, supervisor)
            if other != supervisor or child in children[:index]:
                entry = registry.get(supervisor)
                where = f"of {other} too" if other != supervisor else "twice"
                message = f"{child} is a child {where}"
                hint = "name it once: a service has one supervisor"
                problems.append(Problem(entry.file, entry.line, supervisor, message, hint))
    return problems


def _dependencies(registry: Registry, kinds: frozenset[str]) -> dict[str, set[str]]:
    """The graph of references among the entries of these kinds."""
    entries = registry.of_kind(*sorted(kinds))
    known = {entry.id for entry in entries}
    graph = {}
    for entry in entries:
        kind = kind_named(entry.kind)
        references = kind.record.references(entry.data) if kind and kind.record else ()
        graph[entry.id] = known.intersection(references)
    return graph
