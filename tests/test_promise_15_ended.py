"""Promise 15: an ended run answers; workflow ids follow the conflict and reuse policies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Kind, PerdureError
from tests.both_hosts import Host
from tests.crash_lab import NodeProcess
from tests.durable_lab import HOST, durable_app

WORKFLOWS = {
    "wait": """
        local msg
        repeat msg = process.inbox():receive() until msg:topic() ~= "joined"
        if msg.fail then error(errors.new({message = "told to fail", kind = "Conflict"})) end
        return msg.answer or "ended"
    """,
    "cleans_up": """
        local event = process.events():receive()
        funcs.call("app:effect", "cleaned up", event.reason)
        return nil, errors.new({message = "cancelled", kind = "Canceled"})
    """,
    "canceller": 'return process.cancel(..., "from a workflow")',
    "terminator": "return process.terminate(...)",
    "exec": """
        local id = ...
        local chosen = process.with_options({["workflow.id"] = id})
        local value, err = chosen:exec("app:wait", "app:orders")
        return {value = value, err = err and err:kind()}
    """,
}
ENTRIES = """
- name: watch
  kind: function.lua
  source: |
    local ok, err = process.monitor(...)
    if not ok then return nil, err end
    local event = process.events():receive()
    return {kind = event.kind, from = event.from, value = event.result.value,
      error = event.result.error and event.result.error:message()}
- name: exec_from_a_function
  kind: function.lua
  source: |
    local id = ...
    local with = process.with_options({["workflow.id"] = id}):with_message("joined")
    return with:exec("app:wait", "app:orders")
"""
ID = "order-7"
PID = "{app:orders|order-7}"


@pytest.fixture
def app(tmp_path: Path, host: Host) -> Iterator[Path]:
    folder = durable_app(tmp_path / "app", WORKFLOWS, entries=ENTRIES, host=host)
    yield folder
    host.check(folder)


def start(node: NodeProcess, workflow_id: str = ID, **policies: Any) -> str:
    options = {f"workflow.{name}": value for name, value in policies.items()}
    return node.spawn("app:wait", HOST, options={"workflow.id": workflow_id, **options})


def end(node: NodeProcess, how: str, workflow_id: str = ID) -> None:
    """Bring the run to an end: completed, failed or terminated."""
    pid = f"{{app:orders|{workflow_id}}}"
    if how == "terminated":
        node.do("terminate", pid=pid)
    else:
        node.send(pid, "end", {"fail": how == "failed"})
    if how == "completed":
        assert node.result(pid) == "ended"
    else:
        with pytest.raises(PerdureError):
            node.result(pid)
    assert node.shown(workflow_id)["status"] == how


ENDS = [
    ("completed", None, "ended"),
    ("failed", Kind.CONFLICT, "told to fail"),
    ("terminated", Kind.CANCELED, "process terminated"),
]


def test_result_monitor_and_history_of_an_ended_run(app: Path) -> None:
    with NodeProcess(app) as node:
        for how, _, _ in ENDS:
            start(node, how)
            end(node, how, how)
        for crash in (False, True):
            if crash:
                node.crash()
            for how, kind, message in ENDS:
                assert_ended(node, f"{{app:orders|{how}}}", how, kind, message)


def assert_ended(node: NodeProcess, pid: str, how: str, kind: str | None, message: str) -> None:
    watched = node.call("app:watch", pid)
    if kind is None:
        assert node.result(pid) == message
        assert watched == {"kind": "pid.exit", "from": pid, "value": message}
    else:
        with pytest.raises(PerdureError, match=message) as error:
            node.result(pid)
        assert error.value.kind == kind
        assert watched == {"kind": "pid.exit", "from": pid, "error": message}
    assert node.kinds(pid)[-1] == how
    with pytest.raises(PerdureError, match=f"has ended .{how}.") as gone:
        node.send(pid, "late")
    assert gone.value.kind == Kind.NOT_FOUND


def test_what_never_was_is_not_found(app: Path) -> None:
    with NodeProcess(app) as node:
        for ask in (
            lambda: node.result("{app:orders|nobody}"),
            lambda: node.send("{app:orders|nobody}", "x"),
            lambda: node.do("cancel", pid="{app:orders|nobody}", reason=""),
            lambda: node.do("terminate", pid="{app:orders|nobody}"),
            lambda: node.call("app:watch", "{app:orders|nobody}"),
        ):
            with pytest.raises(PerdureError) as error:
                ask()
            assert error.value.kind == Kind.NOT_FOUND


# How the last run stands, policies -> what a second start does: it gets the run that is there, a
# new one, or is refused.
SAME, NEW, REFUSED = "same", "new", "refused"
POLICIES: list[tuple[str, dict[str, Any], str]] = [
    ("running", {}, SAME),
    ("running", {"id_conflict_policy": "use_existing"}, SAME),
    ("running", {"id_conflict_policy": "fail"}, REFUSED),
    ("running", {"id_conflict_policy": "terminate_existing"}, NEW),
    ("running", {"execution_error_when_already_started": True}, REFUSED),
    ("running", {"id_reuse_policy": "reject_duplicate"}, SAME),
    ("completed", {}, NEW),
    ("completed", {"id_reuse_policy": "allow_duplicate"}, NEW),
    ("completed", {"id_reuse_policy": "allow_duplicate_failed_only"}, REFUSED),
    ("completed", {"id_reuse_policy": "reject_duplicate"}, REFUSED),
    ("completed", {"id_conflict_policy": "fail"}, NEW),
    ("failed", {"id_reuse_policy": "allow_duplicate_failed_only"}, NEW),
    ("failed", {"id_reuse_policy": "reject_duplicate"}, REFUSED),
    ("terminated", {"id_reuse_policy": "allow_duplicate_failed_only"}, NEW),
    ("terminated", {"id_reuse_policy": "reject_duplicate"}, REFUSED),
]


def test_the_policies_of_workflow_ids(app: Path) -> None:
    with NodeProcess(app) as node:
        ids = [f"order-{row}" for row in range(len(POLICIES))]
        for workflow_id, (state, _, _) in zip(ids, POLICIES, strict=True):
            start(node, workflow_id)
            if state != "running":
                end(node, state, workflow_id)
        node.crash()
        for workflow_id, (state, policies, outcome) in zip(ids, POLICIES, strict=True):
            pid, first = f"{{app:orders|{workflow_id}}}", node.shown(workflow_id)
            if outcome == REFUSED:
                with pytest.raises(PerdureError) as refused:
                    start(node, workflow_id, **policies)
                assert refused.value.kind == Kind.ALREADY_EXISTS, (state, policies)
                assert refused.value.details == {"pid": pid}
            else:
                assert start(node, workflow_id, **policies) == pid
            same = node.shown(workflow_id)["run_id"] == first["run_id"]
            assert same == (outcome != NEW), (state, policies)
            if outcome == NEW:
                old = node.shown(workflow_id, first["run_id"])
                assert old["status"] == ("terminated" if state == "running" else state)
                end(node, "completed", workflow_id)


def test_a_policy_that_is_none_is_refused(app: Path) -> None:
    with NodeProcess(app) as node, pytest.raises(PerdureError, match="use_existing") as error:
        start(node, id_conflict_policy="replace")
    assert error.value.kind == Kind.INVALID


def test_those_who_waited_for_the_terminated_run_hear_of_its_end_not_of_the_next(
    app: Path,
) -> None:
    with NodeProcess(app) as node:
        start(node)
        waiting = node.ask("result", pid=PID, timeout=20)
        node.do("services")
        start(node, id_conflict_policy="terminate_existing")
        assert "process terminated" in str(waiting.exception(20))
        end(node, "completed")


@pytest.mark.parametrize("crash", [False, True])
def test_exec_of_a_workflow_id_that_runs_or_has_run(app: Path, crash: bool) -> None:
    with NodeProcess(app) as node:
        start(node)
        first = node.spawn("app:exec", HOST, ID)
        from_function = node.ask("call", function="app:exec_from_a_function", args=[ID])
        node.until_recorded(first, "child_requested")
        node.until_recorded(PID, "message")
        if crash:
            node.crash()
            from_function = node.ask("call", function="app:exec_from_a_function", args=[ID])
            node.until_recorded(PID, "message", 2)
        node.send(PID, "end", {"answer": "to all"})
        assert node.result(first) == {"value": "to all"}
        assert from_function.result(20) == "to all"


# cancel, terminate ------------------------------------------------------------------------------


def test_cancel_is_an_event_that_a_workflow_may_take_its_time_for(app: Path) -> None:
    (app / "hang-cleaned up").touch()
    with NodeProcess(app) as node:
        pids = [node.spawn("app:cleans_up", HOST, options={"workflow.id": name}) for name in "ab"]
        node.do("cancel", pid=pids[0], reason="from a workflow")
        assert node.result(node.spawn("app:canceller", HOST, pids[1])) is True
        for pid in pids:
            node.until_recorded(pid, "activity_scheduled")
        node.crash()
        (app / "hang-cleaned up").unlink()
        for pid in pids:
            with pytest.raises(PerdureError, match="cancelled"):
                node.result(pid)
            assert node.shown(pid)["status"] == "cancelled"
            called = next(each for each in node.told(pid) if each["type"] == "activity_scheduled")
            assert called["data"]["args"] == ["cleaned up", "from a workflow"]


def test_terminate_ends_a_run_that_waits_for_an_activity(app: Path) -> None:
    (app / "hang-cleaned up").touch()
    with NodeProcess(app) as node:
        pid = node.spawn("app:cleans_up", HOST, options={"workflow.id": "dear"})
        node.do("cancel", pid=pid, reason="x")
        node.until_recorded(pid, "activity_scheduled")
        assert node.result(node.spawn("app:terminator", HOST, pid)) is True
        with pytest.raises(PerdureError, match="process terminated"):
            node.result(pid)
    with NodeProcess(app) as node:
        assert node.shown("dear")["status"] == "terminated"
        assert node.kinds(pid)[-1] == "terminated"
