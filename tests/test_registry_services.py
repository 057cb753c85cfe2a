"""Services that come, change and go with a change set, and one that does not start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import PerdureError
from supervision.node import Node
from supervision.state import State
from tests.process_lab import PATIENCE, answer, function, process, running

KEEPER = process("""
    process.registry.register("keeper")
    local inbox, events = process.inbox(), process.events()
    while true do
      local got = channel.select{inbox:case_receive(), events:case_receive()}
      if got.channel == events then return end
      process.send(got.value:from(), "said", VERSION)
    end
""")


def keeper(version: int) -> dict[str, Any]:
    return {**KEEPER, "source": KEEPER["source"].replace("VERSION", str(version))}


def said(node: Node) -> Any:
    return answer(node, "keeper", "say")


def states(node: Node) -> dict[str, State]:
    return {each.id: each.state for each in node.services()}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    entries = {
        "p": keeper(1),
        "keep": {
            "kind": "process.service", "process": "p", "host": "one",
            "lifecycle": {"auto_start": True},
        },
        "f": function("return 1", pool={"type": "static", "workers": 1}),
        "s": {"kind": "store.memory"},
    }  # fmt: skip
    with running(tmp_path, entries) as node:
        yield node


def test_a_service_that_does_not_start_takes_everything_back(node: Node, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    before, services = node.registry.snapshot(), states(node)
    changes = node.registry.changes()
    changes.update({"id": "app:p", "data": code(2)})
    changes.update({"id": "app:f", "data": {"source": "return 2"}})
    changes.create({"id": "app:g", "kind": "function.lua", "data": {"source": "return 'g'"}})
    changes.update({"id": "app:one", "data": {"host": {"workers": 2}}})
    changes.delete("app:s")
    changes.create(
        {"id": "app:bad", "kind": "journal.lmdb", "data": {"path": str(tmp_path / "file")}}
    )
    with pytest.raises(PerdureError, match="app:bad does not start, so nothing was changed"):
        node.registry.apply(changes)
    assert node.registry.snapshot() is before
    assert node.registry.version().id == 1
    assert states(node) == services
    assert node.call("app:f", timeout=PATIENCE) == 1
    with pytest.raises(PerdureError, match="app:g"):
        node.call("app:g")
    assert said(node) == 1


@pytest.mark.parametrize(
    ("process", "source"),
    [
        ({"kind": "process.lua", "data": {"source": "error('broken')"}}, ""),
        ({"kind": "process.lua", "data": {"source": "return nil, 'broken'"}}, ""),
        (
            {"kind": "process.python", "data": {"target": "broken:Broken"}},
            "def on_start(self): raise ValueError('broken')",
        ),
        (
            {"kind": "process.python", "data": {"target": "broken:Broken"}},
            "def __init__(self): raise ValueError('broken')",
        ),
    ],
)
def test_a_service_whose_process_fails_in_its_first_step_takes_everything_back(
    node: Node, tmp_path: Path, process: dict[str, Any], source: str
) -> None:
    (tmp_path / "broken.py").write_text(
        "from hosts.api import Process\n"
        "class Broken(Process):\n"
        "    def on_message(self, *message): ...\n"
        f"    {source}\n"
    )
    services = states(node)
    changes = node.registry.changes()
    changes.update({"id": "app:p", "data": code(2)})
    changes.create({"id": "app:bad", **process})
    data = {"process": "bad", "host": "one", "lifecycle": {"auto_start": True}}
    changes.create({"id": "app:fails", "kind": "process.service", "data": data})
    with pytest.raises(PerdureError, match=r"app:fails does not start, so nothing was.*broken"):
        node.registry.apply(changes)
    assert node.registry.version().id == 1
    assert states(node) == services
    assert said(node) == 1
    assert len(node.processes()) == 1


def code(version: int) -> dict[str, Any]:
    return {key: value for key, value in keeper(version).items() if key != "kind"}


def test_a_service_runs_on_with_its_old_process_until_it_is_restarted(node: Node) -> None:
    node.registry.apply(node.registry.changes().update({"id": "app:p", "data": code(2)}))
    assert said(node) == 1
    node.supervisor.restart_child("app:keep")
    assert said(node) == 2


def test_a_service_that_changes_is_restarted_on_the_new_code(node: Node) -> None:
    changes = node.registry.changes().update({"id": "app:p", "data": code(2)})
    data = {**node.registry.get("app:keep").written, "input": ["changed"]}
    node.registry.apply(changes.update({"id": "app:keep", "data": data}))
    assert said(node) == 2
    node.registry.rollback(1)
    assert said(node) == 1


def test_services_come_with_what_they_need_and_go_with_it(node: Node, tmp_path: Path) -> None:
    changes = node.registry.changes()
    changes.create({"id": "app:journal", "kind": "journal.lmdb", "data": {"path": "journal"}})
    changes.create(
        {"id": "app:orders", "kind": "workflow.host", "data": {"journal": "app:journal"}}
    )
    changes.create({"id": "app:w", "kind": "workflow.lua", "data": {"source": "return 'done'"}})
    node.registry.apply(changes)
    assert node.result(node.spawn("app:w", "app:orders"), PATIENCE) == "done"
    node.registry.rollback(1)
    assert "app:orders" not in states(node)
    with pytest.raises(PerdureError, match="app:orders"):
        node.spawn("app:w", "app:orders")
    node.registry.rollback(2)
    assert node.result(node.spawn("app:w", "app:orders"), PATIENCE) == "done"


def test_a_node_that_does_not_run_takes_no_changes(tmp_path: Path) -> None:
    with running(tmp_path, {}) as node:
        pass
    with pytest.raises(PerdureError, match="does not run"):
        node.registry.apply(node.registry.changes().delete("app:other"))
