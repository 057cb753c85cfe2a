"""Levels put every dependency first; a cycle is found and shown in full."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.graph import find_cycle, find_cycles, levels

NODES = st.sampled_from("abcdefgh")
GRAPHS = st.dictionaries(NODES, st.sets(NODES, max_size=3))


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({}, []),
        ({"b": set(), "a": set()}, [["a", "b"]]),
        ({"a": {"b"}, "b": {"c"}, "c": set()}, [["c"], ["b"], ["a"]]),
        ({"a": {"x"}}, [["x"], ["a"]]),
        ({"d": {"b", "c"}, "c": {"a"}, "b": {"a"}, "a": set()}, [["a"], ["b", "c"], ["d"]]),
    ],
)
def test_levels_are_sorted_with_dependencies_first(
    graph: dict[str, set[str]], expected: list[list[str]]
) -> None:
    assert levels(graph) == expected


@pytest.mark.parametrize(
    ("graph", "cycle"),
    [
        ({"a": {"b"}, "b": set()}, []),
        ({"a": {"a"}}, ["a", "a"]),
        ({"c": {"b"}, "b": {"c"}, "a": {"c"}}, ["b", "c", "b"]),
        ({"a": {"d"}, "d": {"c"}, "c": {"b"}, "b": {"d"}}, ["b", "d", "c", "b"]),
    ],
)
def test_a_cycle_begins_at_its_smallest_node(graph: dict[str, set[str]], cycle: list[str]) -> None:
    assert find_cycle(graph) == cycle


def test_cycles_apart_from_each_other_are_all_found() -> None:
    graph = {"a": {"b"}, "b": {"a"}, "c": {"a", "c"}}
    assert find_cycles(graph) == [["a", "b", "a"], ["c", "c"]]


def test_levels_of_a_cycle_are_refused_with_the_cycle() -> None:
    with pytest.raises(ValueError, match="a -> b -> a"):
        levels({"a": {"b"}, "b": {"a"}, "c": {"a"}})


def test_a_long_chain_needs_no_deep_stack() -> None:
    chain: dict[str, set[str]] = {f"{n:05}": {f"{n + 1:05}"} for n in range(20_000)}
    assert find_cycle(chain) == []
    assert len(levels(chain)) == 20_001


@given(GRAPHS)
def test_a_graph_has_levels_or_a_cycle_of_its_own_edges(graph: dict[str, set[str]]) -> None:
    cycle = find_cycle(graph)
    if cycle:
        assert cycle[0] == cycle[-1] == min(cycle)
        assert all(need in graph[node] for node, need in pairwise(cycle))
        return
    level = {node: number for number, nodes in enumerate(levels(graph)) for node in nodes}
    assert set(level) == set(graph).union(*graph.values())
    assert all(level[need] < level[node] for node, needs in graph.items() for need in needs)
