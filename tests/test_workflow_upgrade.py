"""`process.upgrade` in a workflow: it goes on as a new run, and loses nothing that it was sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Kind, PerdureError
from tests.crash_lab import NodeProcess, check_journal, effects_by_key, survive, until
from tests.durable_lab import HOST, durable_app

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
        local how, each = ...
        if how == "exec" then return workflow.exec("app:counter", "", 1) end
        process.spawn("app:counter", "app:orders", "", 1)
        return process.events():receive().result.value
    """,
    "hands_over": """
        local child = ...
        if not child then
          local named = process.with_options({["workflow.id"] = "child"})
          child = named:spawn("app:counter", "app:orders", "", 9)
          process.upgrade(nil, child)
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


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS, entries=ENTRIES)


def start(node: NodeProcess, entry: str, *args: Any, **options: Any) -> str:
    named = {"workflow.id": "c", **{f"workflow.{name}": each for name, each in options.items()}}
    return node.spawn(f"app:{entry}", HOST, *args, options=named)


def statuses(node: NodeProcess, workflow_id: str = "c") -> list[str]:
    return [row["status"] for row in node.do("runs") if row["workflow_id"] == workflow_id]


def test_the_new_run_has_the_id_and_both_histories_can_be_read(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "counter", "", 2)
        waiting = node.ask("result", pid=pid, timeout=20)
        for text in "abc":
            node.send(pid, "text", {"text": text})
        node.send(pid, "end")
        assert waiting.result(20) == "abc"
        assert node.result(pid) == "abc"
        assert statuses(node) == ["continued", "completed"]
        first, second = (row for row in node.do("runs") if row["workflow_id"] == "c")
        assert first["run_id"] != second["run_id"]
        end = node.history(pid, first["run"])[-1]
        assert end == ["continued", "app:counter", ["ab", 2], second["run"], second["run_id"]]
        assert node.history(pid)[0][1]["info"]["run_id"] == second["run_id"]


def test_unread_messages_come_with_topic_sender_and_order(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "reads_little")
        sender = node.result(node.spawn("app:sends", HOST, pid))
        node.crash()
        node.send(pid, "last", True)
        assert node.result(pid) == [
            "from the first",
            f"ask<{sender}>,a1",
            f"log<{sender}>,two,2",
            f"ask<{sender}>,a2",
            f"log<{sender}>",
            "last<>,true",
        ]


@pytest.mark.parametrize("fault", ["journal.commit.before:2", "journal.commit.after:2"])
def test_a_crash_at_any_commit_loses_neither_a_run_nor_a_message(app: Path, fault: str) -> None:
    def script(node: NodeProcess) -> Any:
        if not statuses(node):
            start(node, "counter", "", 1)
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
            start(node, "quick", 1)
        return node.result(PID)

    result, _ = survive(app, script, *["journal.commit.after:2", "host.effect.before:1"] * 3)
    assert result == "3 1"
    assert effects_by_key(app) == [(f"turn {n}", []) for n in (1, 2, 3)]


@pytest.mark.parametrize("how", ["exec", "spawn"])
@pytest.mark.parametrize("crash", [False, True])
def test_a_parent_waits_for_the_last_run(app: Path, how: str, crash: bool) -> None:
    with NodeProcess(app) as node:
        parent = node.spawn("app:parent", HOST, how)
        until(lambda: len(node.do("runs")) == 2)
        child = node.do("runs")[1]["workflow_id"]
        pid = f"{{app:orders|{child}}}"
        node.send(pid, "text", {"text": "a"})
        if crash:
            node.crash()
        node.send(pid, "text", {"text": "b"})
        node.send(pid, "end")
        assert node.result(parent) == "ab"
        assert statuses(node, child) == ["continued", "continued", "completed"]


def test_a_monitor_waits_for_the_last_run(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "counter", "", 1)
        watched = node.ask("call", function="app:watch", args=[pid])
        until(lambda: len(statuses(node)) == 2)
        node.send(pid, "end")
        assert watched.result(20) == "w"


@pytest.mark.parametrize("crash", [False, True])
def test_children_stay_and_report_to_the_new_run(app: Path, crash: bool) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "hands_over")
        until(lambda: len(statuses(node)) == 2)
        if crash:
            node.crash()
        node.send("{app:orders|child}", "end")
        assert node.result(pid) == ["pid.exit", True, ""]
        node.stop()
    check_journal(app)


def test_children_that_were_handed_over_end_with_the_last_run(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "hands_over")
        until(lambda: len(statuses(node)) == 2)
        node.send(pid, "end")
        assert node.result(pid) == "left it"
        with pytest.raises(PerdureError, match="process terminated"):
            node.result("{app:orders|child}")


@pytest.mark.parametrize(
    ("entry", "kind", "message"),
    [
        ("app:nobody", Kind.NOT_FOUND, "app:nobody is no workflow"),
        ("app:watch", Kind.INVALID, "app:watch is a function.lua"),
        (7, Kind.INVALID, "namespace:name"),
    ],
)
def test_what_it_cannot_go_on_as(app: Path, entry: Any, kind: str, message: str) -> None:
    with NodeProcess(app) as node:
        told = node.result(start(node, "wrong", entry))
    assert told[0] == kind
    assert message in told[1]


def test_an_upgrade_that_cannot_be_written_is_as_if_it_had_not_been(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "counter", "", 1)
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
