"""Search attributes and memo: set at the start and by the run, and runs are found by them. On both
hosts; that a journal has them in the transaction of the step is the last part."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from journal.journal import Journal
from journal.unit import Unit
from journal.verify import verify
from runtime.errors import Kind, PerdureError
from supervision.node import Node
from tests import both_hosts
from tests.both_hosts import found_in, until_found
from tests.crash_lab import PATIENCE, NodeProcess, check_journal, survive
from tests.durable_lab import HOST, durable_app, node_fixture

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
start = partial(both_hosts.start, worker=HOST)
run = partial(both_hosts.run, worker=HOST)


node = node_fixture(WORKFLOWS)


def test_runs_are_found_by_what_they_set(node: Node) -> None:
    pids = [start(node, "order", f"c-{n % 2}", n * 10, id=f"order-{n}") for n in range(1, 5)]
    node.send(pids[0], "go", {"by": "ann"})
    assert node.result(pids[0], PATIENCE) == "done"
    node.send(pids[1], "go", {"again": True})
    until_found(node, 'customer = "c-1"', "order-3 open", "order-1 completed")
    until_found(node, 'status = "open" and customer = "c-1"', "order-3 open")
    until_found(node, "total >= 40", "order-2 open", "order-4 open", "order-2 continued")
    until_found(node, "total < 25 and total > 0.5", "order-1 completed")
    until_found(
        node,
        "express = true or total = 30",
        "order-2 open",
        "order-3 open",
        "order-2 continued",
        "order-1 completed",
    )
    until_found(
        node,
        'entry = "app:order" and not status = "open"',
        "order-2 continued",
        "order-1 completed",
    )
    until_found(node, 'workflow_id = "order-3" and started > "2020"', "order-3 open")
    (row,) = node.workflows('workflow_id = "order-1"')
    assert row["search"] == {"customer": "c-1", "total": 20, "express": True}
    assert row["memo"] == {"note": [1], "by": "ann"}
    assert found_in(node.workflows('customer = "c-1"', open=True)) == ["order-3 open"]


def test_attributes_of_the_start(node: Node) -> None:
    search = {"customer": "c-7", "rate": 1.5}
    start(node, "wait", id="w", search_attributes=search, memo={"from": "shop"})
    until_found(node, 'customer = "c-7" and rate = 1.5', "w open")
    (row,) = node.workflows('workflow_id = "w"')
    assert (row["search"], row["memo"]) == (search, {"from": "shop"})


def test_what_cannot_be_an_attribute(node: Node) -> None:
    wrong: list[tuple[Any, str]] = [
        ({"search": {"status": "mine"}}, "status cannot be the name of an attribute"),
        ({"search": {"not": 1}}, "not cannot be the name"),
        ({"search": {"a b": 1}}, "must be a word"),
        ({"search": {"list": [1]}}, "list must be a text in UTF-8, a number, true or false"),
        ({"search": "customer"}, "search must be a table"),
        ({"find": {}}, 'there is no "find"; there are search and memo'),
        ("customer", "attributes must be a table"),
    ]
    heard = run(node, "sets", *[each for each, _ in wrong])
    for text, (_, expected) in zip(heard, wrong, strict=True):
        assert expected in text
    assert run(node, "sets", {"search": {}}, {"memo": {}}, {}) == [True] * 3
    for search in ({"status": "x"}, {"a b": 1}, {"x": [1]}, "x"):
        with pytest.raises(PerdureError) as error:
            start(node, "wait", search_attributes=search)
        assert error.value.kind == Kind.INVALID
    with pytest.raises(PerdureError, match="column 10"):
        node.workflows("status = open")


# On a journal ------------------------------------------------------------------------------------


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS)


def found(node: NodeProcess, where: str) -> list[str]:
    return found_in(node.do("workflows", where=where))


def order(node: NodeProcess, number: int, customer: str, total: float) -> str:
    return both_hosts.start(node, "order", customer, total, id=f"order-{number}", worker=HOST)


def test_what_runs_set_outlives_the_node(app: Path) -> None:
    with NodeProcess(app) as node:
        pids = [order(node, n, f"c-{n % 2}", n * 10) for n in range(1, 4)]
        node.send(pids[0], "go", {"by": "ann"})
        assert node.result(pids[0]) == "done"
        node.send(pids[1], "go", {"again": True})
        node.until_recorded(pids[1], "attributes")
        node.crash()
        assert found(node, 'customer = "c-1"') == ["order-3 open", "order-1 completed"]
        assert found(node, "total >= 40") == ["order-2 open", "order-2 continued"]
        (row,) = node.do("workflows", where='workflow_id = "order-1"')
        assert row["search"] == {"customer": "c-1", "total": 20, "express": True}
        assert row["memo"] == {"note": [1], "by": "ann"}
        node.stop()
    check_journal(app)


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
