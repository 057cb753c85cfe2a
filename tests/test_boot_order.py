"""Hosts come up one after the other: what a run asked of one that is not up yet waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash_lab import NodeProcess, check_journal
from tests.durable_lab import HOST, durable_app

WORKFLOWS = {
    "hears": "for i = 1, 2 do process.inbox():receive() end",
    "asks": """
        local how = process.inbox():receive():topic()
        if how == "send" then return assert(process.send("{app:later|hears}", "heard")) end
        if how == "name" then return assert(process.send("hears", "heard")) end
        if how == "spawn" then return assert(process.spawn("app:hears", "app:later")) ~= nil end
        if how == "cancel" then return assert(process.cancel("{app:later|hears}", "now")) end
        return assert(process.exec("app:quick", "app:later"))
    """,
    "quick": "return true",
}
LATER = """
- name: later
  kind: workflow.host
  journal: journal
  lifecycle: {auto_start: true, requires: [orders]}
"""
#: Stopped between the two hosts, and then it has the workflow ask.
LAST_WORDS = """
local function main()
  process.events():receive()
  for _, how in ipairs{"send", "name", "exec"} do
    assert(process.send("{app:orders|" .. how .. "}", how))
  end
end
return {main = main}
"""
BETWEEN = """
- name: later
  kind: workflow.host
  journal: journal
  lifecycle: {auto_start: true, requires: [between]}
- name: last_words
  kind: process.lua
  source: file://last_words.lua
  method: main
- name: between
  kind: process.service
  process: last_words
  host: processes
  lifecycle: {auto_start: true, requires: [orders]}
"""


@pytest.mark.parametrize("how", ["send", "spawn", "cancel", "exec", "name"])
def test_what_was_asked_before_a_crash_waits_for_its_host(tmp_path: Path, how: str) -> None:
    app = durable_app(tmp_path / "app", WORKFLOWS, entries=LATER)
    with NodeProcess(app) as node:
        node.spawn("app:hears", "app:later", options={"workflow.id": "hears"})
        pid = node.spawn("app:asks", HOST)
        node.do("arm", fault="host.effect.before:1")
        node.ask("send", dest=pid, topic=how, payload=[])
        node.wait_dead()
    with NodeProcess(app) as node:
        assert node.result(pid) is True
        node.stop()
    check_journal(app)


def test_what_was_asked_while_the_node_stops_waits_for_the_next_boot(tmp_path: Path) -> None:
    app = durable_app(tmp_path / "app", WORKFLOWS, entries=BETWEEN)
    (app / "last_words.lua").write_text(LAST_WORDS)
    with NodeProcess(app) as node:
        node.spawn("app:hears", "app:later", options={"workflow.id": "hears"})
        pids = [
            node.spawn("app:asks", HOST, options={"workflow.id": how})
            for how in ("send", "name", "exec")
        ]
        node.stop()
    with NodeProcess(app) as node:
        assert [node.result(pid) for pid in pids] == [True] * 3
        node.stop()
    check_journal(app)
