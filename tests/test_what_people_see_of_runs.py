"""What is listed, shown and told of runs, on the embedded journal and on a Temporal server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from hosts.temporal import reports as temporal_reports
from runtime.errors import Kind, PerdureError
from supervision.control import workflows as operations
from supervision.node import Node
from tests.both_hosts import WORKER, Host, application, start
from tests.conformance_lab import lua
from tests.process_lab import PATIENCE, failure
from tests.services import eventually

ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "add": lua("function", "local a, b = ... return a + b"),
    "refuses": lua("function", "return nil, errors.new{message = 'no', kind = errors.CONFLICT}"),
    "waits": lua("workflow", "return process.inbox():receive():payload():data()"),
    "fails": lua("workflow", "error(errors.new{message = 'no', kind = errors.CONFLICT, "
                 "details = {a = 1}}, 0)"),
    "ends": lua("workflow", """
        process.events():receive()
        return nil, errors.new{message = "as asked", kind = errors.CANCELED}
    """),
    "order": lua("workflow", """
        workflow.attrs{search = {step = "adding"}, memo = {note = "fragile"}}
        workflow.version("fee", 1, 2)
        local total = funcs.call("app:add", 2, 3)
        time.sleep("1ms")
        local child = process.spawn("app:waits", "app:workflows")
        process.send(child, "go", "on")
        local ended = process.events():receive()
        local by = process.inbox():receive():payload():data()
        return {total = total, child = ended.result.value, by = by}
    """),
    "pends": lua("workflow", """
        funcs.new():with_options({["activity.retry_policy"] = {maximum_attempts = 99,
          initial_interval = 1000}}):async("app:refuses")
        process.spawn("app:waits", "app:workflows")
        time.after("24h")
        process.events():receive()
    """),
    "again": lua("workflow", "if ... > 0 then process.upgrade(nil, ... - 1) end return 'last'"),
    "suspends": lua("workflow", "time.sleep('1ms') error('not yet')", on_error="suspend"),
}  # fmt: skip


@pytest.fixture(scope="module")
def node(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("app")
    with host.node(application(folder, ENTRIES)) as running:
        yield running


CONDITIONS: Final = [
    ('status = "open"', ["f-2", "f-1"]),
    ('status != "open"', ["f-4", "f-3", "f-0"]),
    ('not status = "completed"', ["f-4", "f-3", "f-2", "f-1"]),
    ('status = "failed" or status = "cancelled"', ["f-4", "f-3"]),
    ('status >= "failed"', ["f-3", "f-2", "f-1"]),
    ('customer = "c-1" and status = "open"', ["f-1"]),
    ('customer != "c-1"', ["f-2", "f-0"]),
    ('not customer = "c-1"', ["f-4", "f-3", "f-2", "f-0"]),
    ('customer > "c-0"', ["f-2", "f-1"]),
    ('customer = "c-1" or total >= 20', ["f-2", "f-1"]),
    ("total > 9.5 and total < 15", ["f-1"]),
    ("total = 10.0", ["f-1"]),
    ('total = "10"', []),
    ('total != "10"', ["f-2", "f-1", "f-0"]),
    ("rate = 0.5", ["f-1"]),
    ("rate >= 1", ["f-2"]),
    ("vip = true", ["f-1"]),
    ("vip > false", ["f-1"]),
    ("vip = 1", []),
    ("missing = 1 or total = 0", ["f-0"]),
    ("missing != 1", []),
    ("not missing = 1 and status = 'failed'", ["f-3"]),
    ('note = "it\'s"', ["f-2"]),
    ('entry = "app:waits" and workflow_id >= "f-1"', ["f-2", "f-1"]),
    ('host = "app:workflows" and workflow_id = "f-1"', ["f-1"]),
    ('host = "app:other"', []),
    ('started >= "2020" and started > "2020-01" and started < "2999-01-01T10"',
     ["f-4", "f-3", "f-2", "f-1", "f-0"]),
    ('started < "2020-02-30"', []),
    ('ended = ""', ["f-2", "f-1"]),
    ('ended < "2020-01-01T10:00:00.5"', ["f-2", "f-1"]),
    ('ended > "2020"', ["f-4", "f-3", "f-0"]),
    ('status = "suspended"', []),
]  # fmt: skip


@pytest.fixture(scope="module")
def found(node: Node) -> Node:
    """Runs f-0 to f-4, each begun behind the one before."""
    for n in range(3):
        search = {"customer": f"c-{n}", "total": n * 10, "rate": n / 2, "vip": n == 1}
        if n == 2:
            search["note"] = "it's"
        start(node, "waits", id=f"f-{n}", search_attributes=search, memo={"n": n})
    node.send(f"{{{WORKER}|f-0}}", "go", "well")
    assert node.result(f"{{{WORKER}|f-0}}", PATIENCE) == "well"
    failure(node, start(node, "fails", id="f-3"))
    node.cancel(start(node, "ends", id="f-4", key="the fourth"))
    failure(node, f"{{{WORKER}|f-4}}")
    return node


@pytest.mark.parametrize(("condition", "ids"), CONDITIONS)
def test_a_condition_finds_the_same_runs(found: Node, condition: str, ids: list[str]) -> None:
    def runs() -> list[str]:
        rows = found.workflows(f"({condition}) and workflow_id < 'g' and workflow_id > 'f'")
        return [row["workflow_id"] for row in rows]

    # The server lists what it has begun and ended a moment later.
    eventually(lambda: runs() == ids)


def test_a_list_has_as_many_pages_as_it_takes(found: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal_reports, "_PAGE", 2)
    names = [f"f-{n}" for n in (4, 3, 2, 1, 0)]

    def listed(limit: int) -> list[str]:
        rows = found.workflows("workflow_id < 'g' and workflow_id > 'f'", limit=limit)
        return [row["workflow_id"] for row in rows]

    eventually(lambda: listed(0) == names)
    assert len(listed(3)) == 3


def test_a_row_says_what_a_run_is_and_how_it_stands(found: Node) -> None:
    row: dict[str, Any] = {}

    def there() -> bool:
        rows = found.workflows('workflow_id = "f-1"', open=True)
        row.update(rows[0] if rows else {})
        return bool(rows)

    eventually(there)
    assert row["started"].startswith("20")
    assert {**row, "started": "", "run_id": ""} == {
        "workflow_id": "f-1", "run_id": "", "pid": "{app:workflows|f-1}", "entry": "app:waits",
        "host": WORKER, "status": "open", "started": "", "ended": None, "problem": None,
        "search": {"customer": "c-1", "total": 10, "rate": 0.5, "vip": True}, "memo": {"n": 1},
    }  # fmt: skip
    assert len(found.workflows(limit=2)) == 2
    with pytest.raises(PerdureError, match="limit -1: write a number of runs, or 0 for all"):
        found.workflows(limit=-1)
    open_ids = [each["workflow_id"] for each in found.workflows(open=True, limit=0)]
    assert {"f-1", "f-2"} <= {*open_ids}
    assert not {"f-0", "f-3", "f-4"} & {*open_ids}
    hint = operations.hint(found, "custmer = 'c' and rate = 1 and host = 'h'")
    assert hint.lower() == 'no run has the attribute "custmer": did you mean "customer"?'


def test_the_history_of_a_run_explains_it_in_the_same_words(node: Node, host: Host) -> None:
    pid = start(node, "order", {"id": 7}, 8, id="told", memo={"by": "web"})
    node.send(pid, "approve", "ann")
    result = {"total": 5, "child": "on", "by": "ann"}
    assert node.result(pid, PATIENCE) == result
    rows = operations.history(node, "told")
    assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows)
    assert rows[0]["at"] <= rows[-1]["at"]
    child = next(row["data"]["answer"] for row in rows if row["type"] == "child_started")
    number = next(row["data"]["child"] for row in rows if row["type"] == "child_started")
    texts = [row["text"] for row in rows]
    expected = [
        'started app:order({"id": 7}, 8)',
        'set search {"step": "adding"}',
        "activity 1: app:add(2, 3)",
        "activity 1 (app:add) gave: 5",
        "timer 2: 0.001s",
        "timer 2 fired",
        f"child {number} (app:waits) started as {child}",
        f'child {number} (app:waits) ended with "on"',
        'message "approve": "ann"',
    ]
    if host.server:
        # It numbers its timers, and what sets attributes is an activity there.
        expected[2:6] = [
            "activity 2: app:add(2, 3)", "activity 2 (app:add) gave: 5",
            "timer 1: 0.001s", "timer 1 fired",
        ]  # fmt: skip
        expected += ["activity 2 (app:add): attempt 1", "takes the version fee@2"]
        expected.append('set memo {"note": "fragile"}')
    else:
        expected[1] += '; memo {"note": "fragile"}'
    assert [text for text in expected if text not in texts] == [], texts
    assert json.loads(texts[-1].removeprefix("the run completed: ")) == result
    assert [each for each in texts if each.startswith("message ") and ": true" in each]

    shown = operations.show(node, pid)
    said = {name: shown[name] for name in ("status", "args", "result", "parent", "pending")}
    assert said == {
        "status": "completed", "args": [{"id": 7}, 8], "result": result, "parent": "", "pending": []
    }  # fmt: skip
    assert (shown["memo"], shown["search"]) == (
        {"by": "web", "note": "fragile"}, {"step": "adding"}
    )  # fmt: skip
    assert operations.show(node, child)["parent"] == pid


def test_an_open_run_shows_what_it_waits_for(node: Node, host: Host) -> None:
    pid = start(node, "pends", id="pending")
    shown: dict[str, Any] = {}

    def tried() -> bool:
        shown.update(operations.show(node, "pending"))
        return len(shown["pending"]) == 3 and shown["pending"][0]["attempt"] > 1

    eventually(tried)
    activity, *others = shown["pending"]
    assert (activity["type"], activity["target"]) == ("activity", "app:refuses")
    assert activity["since"] > shown["started"]
    assert sorted(each["type"] for each in others) == ["child", "timer"]
    (child,) = (each for each in others if each["type"] == "child")
    (timer,) = (each for each in others if each["type"] == "timer")
    assert child["target"] == "app:waits"
    assert timer["due"] > shown["started"]
    if host.server:
        assert activity["failure"] == "Conflict: no"
    node.send(pid, "unread", 1)
    eventually(lambda: operations.show(node, pid)["pending"] != [])
    operations.terminate(node, "pending")
    shown = operations.show(node, "pending")
    assert (shown["status"], shown["pending"]) == ("terminated", [])
    assert shown["error"].message == "process terminated"


def test_how_a_run_ended_is_shown(found: Node) -> None:
    failed = operations.show(found, "f-3")
    error = failed["error"]
    assert (failed["status"], error.kind, error.details) == ("failed", "Conflict", {"a": 1})
    ended = operations.show(found, "f-4")
    assert (ended["status"], ended["error"].message) == ("cancelled", "as asked")
    assert ended["memo"] == {}
    texts = [row["text"] for row in operations.history(found, "f-4")]
    assert "asked to end" in texts
    assert texts[-1] == "the run was cancelled: Canceled: as asked"


def test_each_request_to_end_is_told_of(node: Node) -> None:
    pid = start(node, "waits", id="asked")
    for reason in ("first", "second"):
        node.cancel(pid, reason)
    node.send(pid, "go", 1)
    assert node.result(pid, PATIENCE) == 1
    texts = [row["text"] for row in operations.history(node, pid)]
    asked = [text for text in texts if text.startswith("asked to end")]
    assert asked == ["asked to end: first", "asked to end: second"]


def test_earlier_runs_are_shown_by_their_run_ids(node: Node) -> None:
    assert node.result(start(node, "again", 2, id="chain"), PATIENCE) == "last"
    rows: list[dict[str, Any]] = []

    def all_there() -> bool:
        rows[:] = node.workflows('workflow_id = "chain"')
        return [row["status"] for row in rows] == ["completed", "continued", "continued"]

    eventually(all_there)
    shown = operations.show(node, "chain", rows[1]["run_id"])
    assert (shown["args"], shown["status"]) == ([1], "continued")
    assert not {"result", "error"} & shown.keys()
    text = operations.history(node, "chain", rows[1]["run_id"])[-1]["text"]
    assert text == f"the run goes on as app:again(0); run {rows[0]['run_id']} follows"
    for ask in (operations.show, operations.history):
        for run in ("nothing", "01a2070d-4eff-772d-8a3b-f4e3b651e07e"):
            with pytest.raises(PerdureError, match=f"chain has no run {run}"):
                ask(node, "chain", run)
        for workflow in ("nothing", "{app:workflows|nothing}", "{app:nowhere|chain}"):
            with pytest.raises(PerdureError, match="no workflow ") as refused:
                ask(node, workflow)
            assert refused.value.kind == Kind.NOT_FOUND


def test_a_run_that_cannot_go_on_says_why(node: Node) -> None:
    pid = start(node, "suspends", id="stuck")
    eventually(lambda: operations.show(node, pid)["status"] == "suspended")
    assert "not yet" in operations.show(node, pid)["problem"]
    eventually(lambda: [
        each["workflow_id"] for each in node.workflows('status = "suspended"', open=True)
    ] == ["stuck"])  # fmt: skip
    node.terminate(pid)
