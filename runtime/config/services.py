"""Which services need which others, and cycles in what entries need."""

from __future__ import annotations

from runtime.config.kinds import SERVICES, kind_named
from runtime.config.problems import Problem
from runtime.config.registry import Registry
from runtime.graph import find_cycles


def service_dependencies(registry: Registry) -> dict[str, set[str]]:
    """Every service, and the services it needs: its `requires` and the references in its fields."""
    return _dependencies(registry, SERVICES)


def cycle_problems(registry: Registry) -> list[Problem]:
    """A problem for each cycle among services, libraries, and storages of variables."""
    graphs = (
        ("services need each other", service_dependencies(registry), "remove one of these needs"),
        (
            "libraries import each other",
            _dependencies(registry, frozenset({"library.lua"})),
            "move what they share into a library of its own",
        ),
        (
            "storages ask each other",
            _dependencies(registry, frozenset({"env.storage.router"})),
            "remove one of them from the storages of another",
        ),
    )
    problems = []
    for what, graph, hint in graphs:
        for cycle in find_cycles(graph):
            first = registry.get(cycle[0])
            message = f"{what}: {' -> '.join(cycle)}"
            problems.append(Problem(first.file, first.line, first.id, message, hint))
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
