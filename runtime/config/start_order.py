"""In which order services start, as a graph: who needs whom, and whose child is whose.

A supervisor begins before its first child, each of its children after the one to its left is up,
and it is up when the last of them is. So it stands in the graph as two nodes: its beginning, and
its being up. What needs it waits for the latter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from itertools import groupby
from typing import Final

from runtime.graph import find_cycle, find_cycles, levels

#: Ends the name of the node for a supervisor's beginning; no entry id has it.
_BEGINNING: Final = " begins"


def start_order(
    requires: Mapping[str, Set[str]], children: Mapping[str, Sequence[str]]
) -> list[str]:
    """All services, each behind what it waits for; a supervisor stands where it begins.

    Args:
        requires: every service, and those that have to be up before it begins.
        children: every supervisor, and its children from left to right.

    Raises ValueError with a cycle as "a -> b -> a".
    """
    graph = _graph(requires, children)
    try:
        nodes = [node for level in levels(graph) for node in level]
    except ValueError:
        raise ValueError(" -> ".join(_ids(find_cycle(graph)))) from None
    return [_id(node) for node in nodes if node not in children]


def start_cycles(
    requires: Mapping[str, Set[str]], children: Mapping[str, Sequence[str]]
) -> list[list[str]]:
    """Cycles of services that wait for each other, each as [a, b, a]."""
    cycles = dict.fromkeys(tuple(_ids(each)) for each in find_cycles(_graph(requires, children)))
    return [list(each) for each in cycles]


def _graph(
    requires: Mapping[str, Set[str]], children: Mapping[str, Sequence[str]]
) -> dict[str, set[str]]:
    def begin(service: str) -> str:
        return service + _BEGINNING if service in children else service

    graph = {begin(service): set(needs) for service, needs in requires.items()}
    for supervisor, family in children.items():
        graph[supervisor] = {begin(supervisor), *family}
        for index, child in enumerate(family):
            needs = graph.setdefault(begin(child), set())
            needs.add(begin(supervisor))
            if index:
                needs.add(family[index - 1])
    return graph


def _id(node: str) -> str:
    return node.removesuffix(_BEGINNING)


def _ids(cycle: Sequence[str]) -> list[str]:
    """The services of a cycle of nodes; one after the other the same are one."""
    ids = [service for service, _ in groupby(map(_id, cycle))]
    return ids if len(ids) > 1 else ids * 2
