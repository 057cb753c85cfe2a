"""`perdure services` draws the tree of supervisors."""

from __future__ import annotations

from typing import Any

from supervision.cli.services import _drawn


def row(service: str, supervisor: str = "") -> dict[str, Any]:
    return {"id": service, "supervisor": supervisor}


def test_the_tree_is_drawn() -> None:
    rows = [
        row("host"),
        row("top"),
        row("left", "top"),
        row("inner", "top"),
        row("a", "inner"),
        row("b", "inner"),
        row("right", "top"),
        row("other"),
        row("only", "other"),
    ]
    assert [branch + each["id"] for each, branch in _drawn(rows)] == [
        "host",
        "top",
        "├─ left",
        "├─ inner",
        "│  ├─ a",
        "│  └─ b",
        "└─ right",
        "other",
        "└─ only",
    ]


def test_one_of_many_is_drawn_alone() -> None:
    assert [branch for _, branch in _drawn([row("a", "inner")])] == [""]
