"""Services start behind what they wait for, children with their supervisors from left to right."""

from __future__ import annotations

import pytest

from runtime.config.start_order import start_cycles, start_order


def needs(**services: str) -> dict[str, set[str]]:
    return {name: set(text.split()) for name, text in services.items()}


def test_a_supervisor_stands_before_its_children_and_these_in_their_order() -> None:
    requires = needs(host="", top="", b="host", a="", web="top", inner="", c="")
    children = {"top": ("b", "inner", "a"), "inner": ("c",)}
    order = start_order(requires, children)
    assert sorted(order) == sorted(requires)
    for pair in ("top b", "host b", "b inner", "inner c", "c a", "a web"):
        earlier, later = pair.split()
        assert order.index(earlier) < order.index(later)


@pytest.mark.parametrize(
    ("requires", "children", "cycle"),
    [
        (needs(a="b", b="a"), {}, "a -> b -> a"),
        (needs(top="", a="b", b=""), {"top": ("a", "b")}, "a -> b -> a"),
        (needs(top="", a="top"), {"top": ("a",)}, "a -> top -> a"),
        (needs(top=""), {"top": ("top",)}, "top -> top"),
        (needs(x="", y="", a="y", b="x"), {"x": ("a",), "y": ("b",)}, "a -> y -> b -> x -> a"),
    ],
)
def test_cycles(
    requires: dict[str, set[str]], children: dict[str, tuple[str, ...]], cycle: str
) -> None:
    with pytest.raises(ValueError, match=cycle):
        start_order(requires, children)
    assert [" -> ".join(each) for each in start_cycles(requires, children)] == [cycle]


def test_a_service_outside_may_need_a_child_and_a_child_one_outside() -> None:
    requires = needs(x="", y="", a="", b="a", c="b")
    assert start_order(requires, {"x": ("a",), "y": ("b",)})
    assert start_cycles(requires, {"x": ("a",), "y": ("b",)}) == []
