"""`process.upgrade` in a workflow: it goes on as a new run, and loses nothing that it was sent. On
both hosts; what a crash at one point of a journal does to it is the last part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Kind, PerdureError
from supervision.control import workflows
from supervision.node import Node
from tests import both_hosts
from tests.both_hosts import EMBEDDED, only_on, until_runs
from tests.crash_lab import (
    PATIENCE,
    NodeProcess,
    check_journal,
    effects_by_key,
    survive,
    until,
)
from tests.durable_lab import HOST, durable_app, node_fixture

WORKFLOWS = {
    # Counts its messages, so many in each run.
    "counter": """
        local state, each = ...
        for _ = 1, each do
          local msg = process.inbox():receive()
          if msg:topic() == "end" then return state end
          state = state .. msg.text
        end
        return process.upgrade(nil, state, each)
    """,
    "always": "process.upgrade()",
    "once": "return ...",
    "reads_little": """
        local log = process.listen("log")
        local asks = process.listen("ask", {message = true})
        process.inbox():receive()
        log:receive()
        process.upgrade("app:reads_all", "from the first")
    """,
    "reads_all": """
        local told = {...}
        for _ = 1, 5 do
          local msg = process.inbox():receive()
          local payload = msg:payload()
          local text = msg:topic() .. "<" .. msg:from() .. ">"
          if type(payload) == "table" then
            for _, each in ipairs(payload) do text = text .. "," .. tostring(each:data()) end
          elseif payload then
            text = text .. "," .. tostring(payload:data())
          end
          table.insert(told, text)
        end
        return told
    """,
    "sends": """
        local pid = ...
        process.send(pid, "ask", "a1")
        process.send(pid, "log", "read")
        process.send(pid, "log", "two", 2)
        process.send(pid, "ask", "a2")
        process.send(pid, "log")
        process.send(pid, "go")
        return process.pid()
    """,
    "quick": """
        local n = ...
        funcs.call("app:effect", "turn " .. n)
        if n < 3 then process.upgrade(nil, n + 1) end
        return n .. " " .. workflow.info().attempt
    """,
    "parent": """
        local how, id = ...
        local with = process.with_options({["workflow.id"] = id})
        if how == "exec" then return with:exec("app:counter", "app:orders", "", 1) end
        with:spawn("app:counter", "app:orders", "", 1)
        return process.events():receive().result.value
    """,
    "hands_over": """
        local id, policy, child = ...
        if not child then
          local named = process.with_options({
            ["workflow.id"] = id, ["workflow.parent_close_policy"] = policy,
          })
          child = named:spawn("app:counter", "app:orders", "", 9)
          process.upgrade(nil, id, policy, child)
        end
        local events, inbox = process.events(), process.inbox()
        local msg = channel.select({events:case_receive(), inbox:case_receive()})
        if msg.channel == inbox then return "left it" end
        return {msg.value.kind, msg.value.from == child, msg.value.result.value}
    """,
    "wrong": """
        local _, err = process.upgrade(...)
        return {err:kind(), err:message()}
    """,
}
ENTRIES = """
- name: watch
  kind: function.lua
  source: |
    local pid = ...
    local ok, err = process.monitor(pid)
    if not ok then return nil, err end
    process.send(pid, "go", {text = "w"})
    return process.events():receive().result.value
"""
PID = "{app:orders|c}"
start = partial(both_hosts.start, worker=HOST)
run = partial(both_hosts.run, worker=HOST)


node = node_fixture(WORKFLOWS, ENTRIES)


@pytest.fixture
def meanwhile() -> Iterator[Callable[..., Future[Any]]]:
    """Calls something on a thread of its own."""
    with ThreadPoolExecutor() as threads:
        yield threads.submit


def test_the_new_run_has_the_id_and_both_histories_can_be_read(
    node: Node, meanwhile: Callable[..., Future[Any]]
) -> None:
    pid = start(node, "counter", "", 2, id="both")
    waiting = meanwhile(node.result, pid, PATIENCE)
    for text in "abc":
        node.send(pid, "text", {"text": text})
    node.send(pid, "end")
    assert waiting.result(PATIENCE) == "abc"
    assert node.result(pid, PATIENCE) == "abc"
    until_runs(node, "both", "continued", "completed")
    second, first = (row["run_id"] for row in node.workflows('workflow_id = "both"'))
    assert first != second
    end = workflows.history(node, pid, first)[-1]
    assert end["type"] == "continued"
    expected = {"entry": "app:counter", "args": ["ab", 2], "next_run_id": second}
    assert expected.items() <= end["data"].items()
    assert workflows.history(node, pid)[0]["data"]["run_id"] == second


def test_unread_messages_come_with_topic_sender_and_order(node: Node) -> None:
    pid = start(node, "reads_little")
    sender = run(node, "sends", pid)
    node.send(pid, "last", True)
    assert node.result(pid, PATIENCE) == as_sent_by(sender)


def as_sent_by(sender: str) -> list[str]:
    return [
        "from the first",
        f"ask<{sender}>,a1",
        f"log<{sender}>,two,2",
        f"ask<{sender}>,a2",
        f"log<{sender}>",
        "last<>,true",
    ]


def test_a_parent_waits_for_the_last_run(node: Node) -> None:
    parents = {how: start(node, "parent", how, f"child to {how}") for how in ("exec", "spawn")}
    for how, parent in parents.items():
        until_runs(node, f"child to {how}", "open")
        pid = f"{{{HOST}|child to {how}}}"
        for text in "ab":
            node.send(pid, "text", {"text": text})
        node.send(pid, "end")
        assert node.result(parent, PATIENCE) == "ab"
    for how in parents:
        until_runs(node, f"child to {how}", "continued", "continued", "completed")


def until_goes_on(node: Node, pid: str, *args: Any) -> None:
    """Come back when the current run of a workflow is one with these arguments."""
    until(lambda: workflows.history(node, pid)[0]["data"]["args"] == [*args])


def test_a_monitor_waits_for_the_last_run(
    node: Node, meanwhile: Callable[..., Future[Any]]
) -> None:
    pid = start(node, "counter", "", 1, id="watched")
    watched = meanwhile(node.call, "app:watch", pid, timeout=PATIENCE)
    until_goes_on(node, pid, "w", 1)
    node.send(pid, "end")
    assert watched.result(PATIENCE) == "w"


def test_a_run_that_always_goes_on_leaves_its_host_to_others(node: Node) -> None:
    pid = node.spawn("app:always", HOST)
    for n in range(3):
        assert node.result(node.spawn("app:once", HOST, n), PATIENCE) == n
    node.terminate(pid)


def test_children_stay_and_report_to_the_new_run(node: Node) -> None:
    pid, child = start(node, "hands_over", "stays", "abandon"), f"{{{HOST}|stays}}"
    until_goes_on(node, pid, "stays", "abandon", child)
    node.send(child, "end")
    assert node.result(pid, PATIENCE) == ["pid.exit", True, ""]


@only_on(EMBEDDED, "a server closes children by their policy when a run of their parent ends")
def test_children_that_were_handed_over_end_with_the_last_run(node: Node) -> None:
    pid = start(node, "hands_over", "handed over")
    until_runs(node, "handed over", "open")
    node.send(pid, "end")
    assert node.result(pid, PATIENCE) == "left it"
    with pytest.raises(PerdureError, match="process terminated"):
        node.result(f"{{{HOST}|handed over}}", PATIENCE)


@pytest.mark.parametrize(
    ("entry", "kind", "message"),
    [
        ("app:nobody", Kind.NOT_FOUND, "app:nobody is no workflow"),
        ("app:watch", Kind.INVALID, "app:watch is a function.lua"),
        (7, Kind.INVALID, "namespace:name"),
    ],
)
def test_what_it_cannot_go_on_as(node: Node, entry: Any, kind: str, message: str) -> None:
    told = run(node, "wrong", entry)
    assert told[0] == kind
    assert message in told[1]


# On a journal ------------------------------------------------------------------------------------


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS, entries=ENTRIES)


def statuses(node: NodeProcess, workflow_id: str = "c") -> list[str]:
    return [row["status"] for row in node.do("runs") if row["workflow_id"] == workflow_id]


def test_what_goes_on_outlives_the_node(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "reads_little")
        sender = node.result(start(node, "sends", pid))
        parents = {how: start(node, "parent", how, f"child to {how}") for how in ("exec", "spawn")}
        handing = start(node, "hands_over", "stays", id="hands over")
        for how in parents:
            until(partial(lambda child: statuses(node, child) == ["open"], f"child to {how}"))
            node.send(f"{{app:orders|child to {how}}}", "text", {"text": "a"})
        until(lambda: statuses(node, "hands over") == ["continued", "open"])
        node.crash()
        node.send(pid, "last", True)
        assert node.result(pid) == as_sent_by(sender)
        for how, parent in parents.items():
            node.send(f"{{app:orders|child to {how}}}", "text", {"text": "b"})
            node.send(f"{{app:orders|child to {how}}}", "end")
            assert node.result(parent) == "ab"
        node.send("{app:orders|stays}", "end")
        assert node.result(handing) == ["pid.exit", True, ""]
        node.stop()
    check_journal(app)


@pytest.mark.parametrize("fault", ["journal.commit.before:2", "journal.commit.after:2"])
def test_a_crash_at_any_commit_loses_neither_a_run_nor_a_message(app: Path, fault: str) -> None:
    def script(node: NodeProcess) -> Any:
        if not statuses(node):
            start(node, "counter", "", 1, id="c")
        for text in "abc":
            node.send(PID, "text", {"text": text}, key=text)
        node.send(PID, "end", key="end")
        return node.result(PID)

    # Each boot comes a commit or two further.
    result, deaths = survive(app, script, *[fault] * 12)
    assert result == "abc"
    assert deaths >= 4


def test_runs_that_go_on_at_once_follow_one_another_through_crashes(app: Path) -> None:
    def script(node: NodeProcess) -> Any:
        if not statuses(node):
            start(node, "quick", 1, id="c")
        return node.result(PID)

    result, _ = survive(app, script, *["journal.commit.after:2", "host.effect.before:1"] * 3)
    assert result == "3 1"
    assert effects_by_key(app) == [(f"turn {n}", []) for n in (1, 2, 3)]


def test_an_upgrade_that_cannot_be_written_is_as_if_it_had_not_been(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "counter", "", 1, id="c")
        node.do("arm", fault="host.chain.before:1:raise-eio")
        with pytest.raises(PerdureError):
            node.send(pid, "text", {"text": "a"})
        node.do("arm", fault=None)
        for text in "bc":
            node.send(pid, "text", {"text": text})
        node.send(pid, "end")
        assert node.result(pid) == "bc"
        node.stop()
    check_journal(app)
