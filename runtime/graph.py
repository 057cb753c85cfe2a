"""Dependency graphs as plain data: a dict from each node to the set of nodes it depends on.

A node that is only named as a dependency has none of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

Graph = Mapping[str, Set[str]]


def levels(graph: Graph) -> list[list[str]]:
    """Topological levels, dependencies first, each level sorted.

    What is in one level depends only on earlier levels, so it can start in parallel.
    Raises ValueError when there is a cycle.
    """
    waiting = {node: set(needs) for node, needs in graph.items()}
    for needs in graph.values():
        for need in needs:
            waiting.setdefault(need, set())
    dependents: dict[str, list[str]] = {node: [] for node in waiting}
    for node, needs in waiting.items():
        for need in needs:
            dependents[need].append(node)
    result: list[list[str]] = []
    ready = sorted(node for node, needs in waiting.items() if not needs)
    placed = 0
    while ready:
        result.append(ready)
        placed += len(ready)
        following = []
        for done in ready:
            for node in dependents[done]:
                waiting[node].remove(done)
                if not waiting[node]:
                    following.append(node)
        ready = sorted(following)
    if placed < len(waiting):
        raise ValueError(f"the graph has a cycle: {' -> '.join(find_cycle(graph))}")
    return result


def find_cycle(graph: Graph) -> list[str]:
    """One cycle as `[a, b, a]`, beginning at its smallest node, or [] when there is none."""
    finished: set[str] = set()
    for start in sorted(graph):
        if start in finished:
            continue
        # The path from `start`, with what is left to visit of each node on it.
        path = {start: iter(sorted(graph[start]))}
        while path:
            node, needs = next(reversed(path.items()))
            need = next((each for each in needs if each not in finished), None)
            if need is None:
                finished.add(node)
                del path[node]
            elif need in path:
                nodes = list(path)
                return _from_smallest(nodes[nodes.index(need) :])
            else:
                path[need] = iter(sorted(graph.get(need, ())))
    return []


def find_cycles(graph: Graph) -> list[list[str]]:
    """Cycles that share no node, each as `find_cycle` gives it, until none is left."""
    cycles = []
    while cycle := find_cycle(graph):
        cycles.append(cycle)
        graph = {
            node: set(needs).difference(cycle) for node, needs in graph.items() if node not in cycle
        }
    return cycles


def _from_smallest(cycle: list[str]) -> list[str]:
    first = cycle.index(min(cycle))
    return [*cycle[first:], *cycle[: first + 1]]
