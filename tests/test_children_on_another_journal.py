"""Children on a host of another journal tell their parent of their end, and are closed with it, as
those beside it do and are."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervision import Node
from tests.both_hosts import Host, until_told
from tests.crash_lab import PATIENCE, NodeProcess, until
from tests.durable_lab import HOST, durable_app

WORKFLOWS = {
    "parent": """
        local policies = {"terminate", "request_cancel", "abandon"}
        for _, policy in ipairs(policies) do
          for _, entry in ipairs{"stubborn", "again"} do
            assert(process.with_options({
              ["workflow.id"] = policy .. " " .. entry, ["workflow.parent_close_policy"] = policy,
            }):spawn("app:" .. entry, "app:far"))
          end
        end
        -- It is there, so it is not its child.
        assert(process.with_options({
          ["workflow.id"] = "other", ["workflow.id_conflict_policy"] = "use_existing",
        }):spawn("app:stubborn", "app:far"))
        if process.inbox():receive():topic() == "upgrade" then process.upgrade("app:heir") end
    """,
    "heir": "process.inbox():receive()",
    "stubborn": "return process.events():receive().kind",
    # It has gone on as new when its parent ends.
    "again": 'process.upgrade("app:stubborn")',
}
TELLS = {
    "parent": """
        local heard = {}
        for _, how in ipairs{"spawn", "spawn_monitored", "spawn"} do
          local pid = assert(process[how]("app:quick", "app:far", how))
          local event = process.events():receive()
          heard[#heard + 1] = {event.kind, event.from == pid, event.result.value}
        end
        assert(workflow.exec("app:quick", "by exec") == "by exec")
        assert(process.exec("app:quick", "app:far", "by exec") == "by exec")
        assert(process.with_options({["workflow.id"] = "slow"}):spawn("app:slow", "app:far"))
        local event = process.events():receive()
        heard[#heard + 1] = {event.kind, event.from, event.result.value}
        local late = channel.select{
          process.events():case_receive(), time.after("20ms"):case_receive(),
        }
        return {heard = heard, late = late.value.kind}
    """,
    "quick": "return ...",
    "slow": "return process.inbox():receive():topic()",
}
FAR = """
- {name: far_journal, kind: journal.lmdb, path: ./data/far}
- {name: far, kind: workflow.host, journal: far_journal, lifecycle: {auto_start: true}}
"""
ENDED = {"terminate": "terminated", "request_cancel": "completed", "abandon": "open"}


@pytest.mark.parametrize("topic", ["end", "upgrade"])
def test_children_on_another_journal_are_closed_as_their_policy_says(
    tmp_path: Path, topic: str
) -> None:
    app = durable_app(tmp_path / "app", WORKFLOWS, entries=FAR)

    def how(node: Node) -> dict[str, str]:
        rows = node.workflows('host = "app:far"')
        return {row["workflow_id"]: row["status"] for row in reversed(rows)}

    with Node.from_path(app) as node:
        node.spawn("app:stubborn", "app:far", options={"workflow.id": "other"})
        parent = node.spawn("app:parent", HOST)
        until_told(node, parent, "child_started", 7)
        until(lambda: len(node.workflows('status = "continued"')) == 3)
    with Node.from_path(app) as node:
        node.send(parent, topic)
        if topic == "upgrade":
            until(lambda: node.workflows('entry = "app:heir"'))
            assert list(how(node).values()) == ["open"] * 7
            node.send(parent, "end")
        node.result(parent, PATIENCE)
        expected = {f"{policy} {entry}": ended for policy, ended in ENDED.items()
                    for entry in ("stubborn", "again")}  # fmt: skip
        until(lambda: how(node) == {**expected, "other": "open"})


def test_a_child_on_another_journal_tells_of_its_end_once(tmp_path: Path, host: Host) -> None:
    app = durable_app(tmp_path / "app", TELLS, entries=FAR, host=host)
    with NodeProcess(app) as node:
        parent = node.spawn("app:parent", HOST)
        until(lambda: [row for row in node.rows() if row["workflow_id"] == "slow"])
        node.crash()
        node.send("{app:far|slow}", "go")
        told = ["pid.exit", True]
        assert node.result(parent) == {
            "heard": [
                [*told, "spawn"], [*told, "spawn_monitored"], [*told, "spawn"],
                ["pid.exit", "{app:far|slow}", "go"],
            ],
        }  # fmt: skip
    host.check(app)


def test_a_child_elsewhere_tells_a_parent_on_a_journal(tmp_path: Path, host: Host) -> None:
    far = FAR.replace("workflow.host, journal:", "temporal.worker, client:")
    app = durable_app(tmp_path / "app", TELLS, entries=far)
    with Node.from_path(app, host.overrides("app:far_journal")) as node:
        parent = node.spawn("app:parent", HOST)
        until_told(node, parent, "child_started", 4)
        node.send("{app:far|slow}", "go")
        heard = node.result(parent, PATIENCE)["heard"]
    assert [each[2] for each in heard] == ["spawn", "spawn_monitored", "spawn", "go"]
