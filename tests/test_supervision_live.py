"""Supervisors in a live node: declared in YAML, changed through the registry, told on the bus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.config.problems import ConfigurationError
from runtime.errors import PerdureError
from supervision.messages import ServiceStatus
from supervision.node import Node
from supervision.state import State
from tests.process_lab import answer, eventually, process, running
from tests.test_process_service import status

#: Holds the name it is given, and does as its messages say.
WORKER = process("""
    local name = ...
    process.registry.register(name)
    local events, inbox = process.events(), process.inbox()
    while true do
      local got = channel.select{events:case_receive(), inbox:case_receive()}
      if got.channel == events then return "cancelled" end
      if got.value:topic() == "raise" then error("it broke") end
      process.send(got.value:from(), "alive", process.pid())
    end
""")


def service(name: str) -> dict[str, Any]:
    return {"kind": "process.service", "process": "worker", "host": "one", "input": [name]}


def supervisor(*children: str, **fields: Any) -> dict[str, Any]:
    return {
        "kind": "process.supervisor",
        "children": list(children),
        "lifecycle": {"auto_start": True},
        **fields,
    }


def entry(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """As change sets take it."""
    data = dict(fields)
    return {"id": f"app:{name}", "kind": data.pop("kind"), "meta": {}, "data": data}


def holder(node: Node, name: str) -> str | None:
    return node.router.lookup(name)


def alive(node: Node, name: str) -> str:
    """PID of the process that holds a name, as it says itself."""
    return str(answer(node, name, "are you there?"))


def below(node: Node, service_id: str) -> list[ServiceStatus]:
    """A supervisor and what it supervises, as listed."""
    found = {service_id}
    for each in node.services():
        if each.supervisor in found:
            found.add(each.id)
    return [each for each in node.services() if each.id in found]


def settled(node: Node, name: str) -> bool:
    return status(node, f"app:{name}").state is State.RUNNING


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    entries = {
        "worker": WORKER,
        "top": supervisor("left", "inner", strategy="rest_for_one"),
        "inner": supervisor("a", "b", strategy="one_for_all", intensity={"restarts": 1}),
        "left": service("left"),
        "a": service("a"),
        "b": service("b"),
    }
    with running(tmp_path, entries) as node:
        yield node


def test_the_tree_of_an_application(node: Node) -> None:
    assert [(each.id, each.supervisor, each.state) for each in below(node, "app:top")] == [
        ("app:top", "", State.RUNNING),
        ("app:left", "app:top", State.RUNNING),
        ("app:inner", "app:top", State.RUNNING),
        ("app:a", "app:inner", State.RUNNING),
        ("app:b", "app:inner", State.RUNNING),
    ]


def test_a_crash_restarts_its_siblings_and_too_many_the_supervisor(node: Node) -> None:
    first = {name: alive(node, name) for name in ("left", "a", "b")}
    with node.events.subscribe("service") as events:
        node.send("a", "raise")
        eventually(
            lambda: status(node, "app:b").uptime is not None and alive(node, "b") != first["b"]
        )
        assert status(node, "app:a").restarts == 1
        assert alive(node, "left") == first["left"]
        second = alive(node, "b")
        node.send("b", "raise")
        eventually(lambda: status(node, "app:inner").restarts == 1)
        eventually(
            lambda: status(node, "app:top").state is State.RUNNING and alive(node, "b") != second
        )
        assert alive(node, "left") == first["left"]
    seen = []
    data: dict[str, Any] = {}
    for event in events:
        seen.append((event.path, event.kind, event.data["from"]))
        if (event.path, event.kind) == ("app:inner", "failed"):
            data = event.data
    assert seen[:3] == [
        ("app:a", "failed", "running"),
        ("app:b", "stopping", "running"),
        ("app:b", "stopped", "stopping"),
    ]
    assert ("app:inner", "stopping", "running") in seen
    assert data["supervisor"] == "app:top"
    assert "its children crashed 2 times within 5s" in data["error"].message


def test_services_come_and_go_with_the_registry(node: Node) -> None:
    kept = alive(node, "a")
    changes = node.registry.changes()
    changes.create(entry("c", {**service("c"), "lifecycle": {"auto_start": True}}))
    node.registry.apply(changes.create(entry("d", service("d"))))
    assert alive(node, "c")
    assert status(node, "app:d").state is State.UNKNOWN

    changed = entry("inner", supervisor("a", "d", strategy="one_for_one"))
    node.registry.apply(node.registry.changes().update(changed).delete("app:b"))
    assert alive(node, "d")
    assert alive(node, "a") == kept
    tree = [each.id for each in below(node, "app:top")]
    assert tree == ["app:top", "app:left", "app:inner", "app:a", "app:d"]
    with pytest.raises(PerdureError):
        node.actor("b")

    changed = entry("a", service("other"))
    node.registry.apply(node.registry.changes().update(changed))
    assert alive(node, "other") != kept
    with pytest.raises(ConfigurationError, match="app:b"):
        node.registry.apply(node.registry.changes().update(entry("inner", supervisor("a", "b"))))
    node.registry.apply(node.registry.changes().delete("app:top"))
    assert status(node, "app:inner").supervisor == ""
    eventually(lambda: status(node, "app:inner").state is State.RUNNING)


def test_a_host_can_be_replaced_and_its_services_follow(node: Node) -> None:
    before = alive(node, "left")
    changed = entry("one", {"kind": "process.host", "host": {"workers": 2}})
    node.registry.apply(node.registry.changes().update(changed))
    assert alive(node, "left") != before
    assert status(node, "app:top").state is State.RUNNING


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        (
            {"first": supervisor("left"), "second": supervisor("left")},
            "app:second: app:left is a child of app:first too",
        ),
        ({"top": supervisor("left", "left")}, "app:left is a child twice"),
        (
            {"top": supervisor("inner"), "inner": supervisor("top")},
            "services need each other: app:inner -> app:top -> app:inner",
        ),
        (
            {
                "top": supervisor("early", "left"),
                "early": {**service("early"), "lifecycle": {"requires": ["left"]}},
            },
            "services need each other: app:early -> app:left -> app:early",
        ),
        ({"top": supervisor("worker")}, "app:worker is a process.lua"),
        (
            {"top": supervisor("left", strategy="all")},
            'strategy: "all" is not a choice; the choices are one_for_all',
        ),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(
    tmp_path: Path, entries: dict[str, Any], problem: str
) -> None:
    base = {"worker": WORKER, "left": service("left")}
    with pytest.raises(ConfigurationError) as caught, running(tmp_path, {**base, **entries}):
        pass
    assert problem in str(caught.value)
