"""Start requests from everywhere start and tell once. On both hosts; what a crash at one point of a
journal, behind which they are made again, does to that is the last part."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from supervision.node import Node
from tests import both_hosts
from tests.both_hosts import until_told
from tests.crash_lab import PATIENCE, NodeProcess, check_journal, survive, until
from tests.durable_lab import HOST, durable_app, node_fixture

WORKFLOWS = {
    "collects": """
        local seen = {}
        while true do
          local msg = process.inbox():receive()
          if msg:topic() == "end" then return seen end
          table.insert(seen, msg:topic() .. " " .. tostring(msg:payload():data()))
        end
    """,
    "ends": 'if process.inbox():receive():topic() == "fail" then error("told to fail") end',
    "joins": """
        local how, name = ...
        local with = process.with_context({}):with_name(name)
        with = with:with_message("one", 1):with_message("two", 2)
        if how == "exec" then return with:exec("app:collects", "app:orders") end
        return with:spawn("app:collects", "app:orders")
    """,
}
ENTRIES = """
- name: starter
  kind: process.lua
  source: |
    local with = process.with_options({["workflow.id"] = "by process"}):with_message("hello", "p")
    local pid = assert(with:spawn_monitored("app:collects", "app:orders"))
    process.send(pid, "more", "p")
    process.send(pid, "end")
    return process.events():receive().result.value
- name: linked
  kind: process.lua
  source: |
    process.set_options({trap_links = true})
    assert(process.link(...))
    local event = process.events():receive()
    local err = event.result.error
    return {event.kind, event.from, err and err:message() or "nothing"}
- name: starts
  kind: function.lua
  source: |
    local with = process.with_options({["workflow.id"] = "by function"}):with_message("hello", "f")
    local pid = assert(with:spawn("app:collects", "app:orders"))
    process.send(pid, "end")
    return pid
"""
SHARED = "{app:orders|shared}"
start = partial(both_hosts.start, worker=HOST)


node = node_fixture(WORKFLOWS, ENTRIES)


@pytest.mark.parametrize("how", ["spawn", "exec"])
def test_start_messages_reach_a_run_that_was_there(node: Node, how: str) -> None:
    shared = start(node, "collects", id=f"shared by {how}")
    joiner = start(node, "joins", how, f"shared by {how}")
    if how == "spawn":
        assert node.result(joiner, PATIENCE) == shared
    until_told(node, shared, "message", 2)
    node.send(shared, "end")
    assert node.result(shared, PATIENCE) == ["one 1", "two 2"]
    if how == "exec":
        assert node.result(joiner, PATIENCE) == ["one 1", "two 2"]


def test_from_a_process_and_a_function(node: Node) -> None:
    starter = node.spawn("app:starter", "app:processes")
    assert node.result(starter, PATIENCE) == ["hello p", "more p"]
    assert node.result(node.call("app:starts"), PATIENCE) == ["hello f"]


def test_a_key_starts_one_workflow_and_brings_its_messages_once(node: Node) -> None:
    (pid,) = {start(node, "collects", key="k") for _ in range(3)}
    for _ in range(2):
        node.send(pid, "hello", 1, key="hello")
    node.send(pid, "end", key="end")
    assert node.result(pid, PATIENCE) == ["hello 1"]


@pytest.mark.parametrize(
    ("topic", "kind", "said"),
    [("end", "pid.exit", "nothing"), ("fail", "pid.link.down", "told to fail")],
)
def test_a_process_linked_to_a_workflow_hears_of_any_end(
    node: Node, topic: str, kind: str, said: str
) -> None:
    pid = start(node, "ends")
    linked = node.spawn("app:linked", "app:processes", pid)
    node.send(linked, "are you linked?")
    node.send(pid, topic)
    told = node.result(linked, PATIENCE)
    assert told[:2] == [kind, pid]
    assert said in told[2]


# On a journal ------------------------------------------------------------------------------------


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS, entries=ENTRIES)


def start_shared(node: NodeProcess) -> None:
    node.spawn("app:collects", HOST, options={"workflow.id": "shared"})


def ids(node: NodeProcess) -> list[str]:
    return [row["workflow_id"] for row in node.do("runs")]


@pytest.mark.parametrize("how", ["spawn", "exec"])
@pytest.mark.parametrize(
    "faults",
    [
        ["host.effect.after:2"],
        ["journal.commit.after:3", "journal.commit.before:2", "host.ack.before:2"],
        ["journal.commit.before:3", "journal.commit.after:2", "host.effect.before:1"],
    ],
)
def test_start_messages_reach_a_run_that_was_there_once_through_crashes(
    app: Path, how: str, faults: list[str]
) -> None:
    def script(node: NodeProcess) -> Any:
        if "shared" not in ids(node):
            start_shared(node)
        if "joiner" not in ids(node):
            node.spawn("app:joins", HOST, how, "shared", options={"workflow.id": "joiner"})
        until(partial(has_messages, node))
        if how == "spawn":
            assert node.result("{app:orders|joiner}") == SHARED
        node.send(SHARED, "end", key="end")
        return node.result(SHARED)

    assert survive(app, script, *faults)[0] == ["one 1", "two 2"]


def has_messages(node: NodeProcess) -> bool:
    return node.kinds(SHARED).count("message") >= 2


def test_the_note_of_delivered_messages_is_forgotten_with_the_answer(app: Path) -> None:
    with NodeProcess(app) as node:
        start_shared(node)
        joiner = node.spawn("app:joins", HOST, "spawn", "shared")
        assert node.result(joiner) == SHARED
        assert node.do("noted", run=2, seq=1) is False
        node.stop()
    check_journal(app)


@pytest.mark.parametrize("fault", ["journal.commit.after:1", "host.ack.before:1"])
def test_a_key_starts_one_workflow_and_brings_its_messages_once_through_a_crash(
    app: Path, fault: str
) -> None:
    def script(node: NodeProcess) -> Any:
        pids = {node.spawn("app:collects", HOST, key="k") for _ in range(3)}
        assert len(pids) == 1
        pid = pids.pop()
        for _ in range(2):
            node.send(pid, "hello", 1, key="hello")
        node.send(pid, "end", key="end")
        return node.result(pid)

    assert survive(app, script, fault)[0] == ["hello 1"]
