"""Children on a host of another journal are closed with their parent, as those beside it are."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervision import Node
from tests.both_hosts import until_told
from tests.crash_lab import PATIENCE, until
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
