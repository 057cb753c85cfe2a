"""Search attributes and memo: set at the start and by the run, in the transaction of the step, and
runs are found by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from journal.journal import Journal
from journal.unit import Unit
from journal.verify import verify
from runtime.errors import Kind, PerdureError
from supervision.node import Node
from tests.crash_lab import NodeProcess, check_journal, survive
from tests.durable_lab import HOST, durable_app

WORKFLOWS = {
    "order": """
        local customer, total = ...
        assert(workflow.attrs{search = {customer = customer, total = total}, memo = {note = {1}}})
        local msg = process.inbox():receive()
        workflow.attrs{search = {total = total * 2, express = true}, memo = {by = msg.by}}
        if msg.again then process.upgrade(nil, customer, total * 2) end
        return "done"
    """,
    "wait": "process.inbox():receive() return 1",
    "sets": """
        local told = {}
        for _, attributes in ipairs({...}) do
          local ok, err = workflow.attrs(attributes)
          table.insert(told, ok or err:message())
        end
        return told
    """,
}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS)


def order(node: NodeProcess, number: int, customer: str, total: float) -> str:
    options = {"workflow.id": f"order-{number}"}
    return node.spawn("app:order", HOST, customer, total, options=options)


def found(node: NodeProcess, where: str) -> list[str]:
    rows = node.do("workflows", where=where)
    return [f"{row['workflow_id']} {row['status']}" for row in rows]


@pytest.mark.parametrize("crash", [False, True])
def test_runs_are_found_by_what_they_set(app: Path, crash: bool) -> None:
    with NodeProcess(app) as node:
        pids = [order(node, n, f"c-{n % 2}", n * 10) for n in range(1, 5)]
        node.send(pids[0], "go", {"by": "ann"})
        assert node.result(pids[0]) == "done"
        node.send(pids[1], "go", {"again": True})
        node.until_recorded(pids[1], "attributes")
        if crash:
            node.crash()
        assert found(node, 'customer = "c-1"') == ["order-3 open", "order-1 completed"]
        assert found(node, 'status = "open" and customer = "c-1"') == ["order-3 open"]
        assert found(node, "total >= 40") == ["order-2 open", "order-4 open", "order-2 continued"]
        assert found(node, "total < 25 and total > 0.5") == ["order-1 completed"]
        assert found(node, "express = true or total = 30") == [
            "order-2 open",
            "order-3 open",
            "order-2 continued",
            "order-1 completed",
        ]
        assert found(node, 'entry = "app:order" and not status = "open"') == [
            "order-2 continued",
            "order-1 completed",
        ]
        assert found(node, 'workflow_id = "order-3" and started > "2020"') == ["order-3 open"]
        (row,) = node.do("workflows", where='workflow_id = "order-1"')
        assert row["search"] == {"customer": "c-1", "total": 20, "express": True}
        assert row["memo"] == {"note": [1], "by": "ann"}
        node.stop()
    check_journal(app)


def test_attributes_of_the_start(app: Path) -> None:
    options: dict[str, Any] = {
        "workflow.id": "w",
        "workflow.search_attributes": {"customer": "c-7", "total": 1.5},
        "temporal.workflow.memo": {"from": "shop"},
    }
    with NodeProcess(app) as node:
        node.spawn("app:wait", HOST, options=options)
        (row,) = node.do("workflows", where='customer = "c-7" and total = 1.5')
        assert (row["search"], row["memo"]) == ({"customer": "c-7", "total": 1.5}, {"from": "shop"})


@pytest.mark.parametrize(
    "faults",
    [
        ["journal.op.put_search.after:3", "journal.op.del_search.before:1"],
        ["journal.commit.before:2", "journal.commit.after:2"],
    ],
)
def test_the_index_and_the_step_are_one_transaction(app: Path, faults: list[str]) -> None:
    def script(node: NodeProcess) -> list[str]:
        if not found(node, 'workflow_id = "order-1"'):
            order(node, 1, "c-1", 10)
        node.send("{app:orders|order-1}", "go", {}, key="go")
        assert node.result("{app:orders|order-1}") == "done"
        assert found(node, "total = 10") == []
        return found(node, 'total = 20 and express = true and customer = "c-1"')

    assert survive(app, script, *faults)[0] == ["order-1 completed"]


def test_a_deleted_run_leaves_the_index(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = order(node, 1, "c-1", 10)
        node.send(pid, "go", {})
        assert node.result(pid) == "done"
        node.stop()
    with Journal.open(app / "data/journal") as journal:
        unit = Unit()
        unit.delete_run(1)
        journal.submit(unit, lambda error: None)
    with Journal.open(app / "data/journal") as journal:
        assert list(journal.found("customer", "", ">=")) == []
        assert verify(journal) == []


def test_what_cannot_be_an_attribute(app: Path) -> None:
    wrong: list[tuple[Any, str]] = [
        ({"search": {"status": "mine"}}, "status cannot be the name of an attribute"),
        ({"search": {"not": 1}}, "not cannot be the name"),
        ({"search": {"a b": 1}}, "must be a word"),
        ({"search": {"list": [1]}}, "list must be a text in UTF-8, a number, true or false"),
        ({"search": "customer"}, "search must be a table"),
        ({"find": {}}, 'there is no "find"; there are search and memo'),
        ("customer", "attributes must be a table"),
    ]
    with NodeProcess(app) as node:
        told = node.result(node.spawn("app:sets", HOST, *[each for each, _ in wrong]))
        for text, (_, expected) in zip(told, wrong, strict=True):
            assert expected in text
        assert (
            node.result(node.spawn("app:sets", HOST, {"search": {}}, {"memo": {}}, {}))
            == [True] * 3
        )
        for search in ({"status": "x"}, {"a b": 1}, {"x": [1]}, "x"):
            with pytest.raises(PerdureError) as error:
                node.spawn("app:wait", HOST, options={"workflow.search_attributes": search})
            assert error.value.kind == Kind.INVALID
        with pytest.raises(PerdureError, match="column 10"):
            node.do("workflows", where="status = open")


def test_from_python(app: Path) -> None:
    with Node.from_path(app) as node:
        node.spawn("app:order", HOST, "c-1", 10)
        (row,) = node.workflows('customer = "c-1"', open=True)
        assert row["entry"] == "app:order"
        assert node.workflows("total > 10") == []
