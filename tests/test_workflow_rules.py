"""When a workflow begins, how long it may take, what follows on its end, what becomes of its
children."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from hosts.start_options import NO_RULES, Rules, start_options
from runtime.errors import Kind, PerdureError
from tests.crash_lab import NodeProcess, check_journal, survive, until
from tests.durable_lab import HOST, durable_app

WORKFLOWS = {
    "wait": 'return process.inbox():receive().answer or "ended"',
    "flaky": """
        local succeeds_at, kind = ...
        local attempt = workflow.info().attempt
        funcs.call("app:effect", "attempt " .. attempt)
        if attempt >= succeeds_at then return attempt end
        return nil, errors.new({message = "attempt " .. attempt, kind = kind or "Unavailable"})
    """,
    "tick": """
        funcs.call("app:effect", "tick")
        local msg = channel.select({process.inbox():case_receive(), default = true})
        if msg.value and msg.value:topic() == "fail" then error("told to fail") end
        return "ticked"
    """,
    "busy": "while true do end",
    "parent": """
        local policy, how = ...
        local with = process.with_options({
          ["workflow.id"] = "child", ["workflow.parent_close_policy"] = policy,
        })
        if how == "exec" then return with:exec("app:stubborn", "app:orders") end
        with:spawn("app:stubborn", "app:orders")
        local msg = process.inbox():receive()
        if msg.fail then error("told to fail") end
        return "parent ended"
    """,
    "stubborn": """
        local events, inbox = process.events(), process.inbox()
        local got = channel.select({events:case_receive(), inbox:case_receive()})
        return got.channel == events and got.value.kind or "asked"
    """,
    "hasty": """
        coroutine.spawn(function()
          process.with_options({["workflow.id"] = "child"}):spawn("app:wait", "app:orders")
        end)
        return "ended"
    """,
    "borrows": """
        local pid = process.with_options({["workflow.id"] = "mine"}):spawn("app:wait", "app:orders")
        return pid
    """,
    "where": "return workflow.info().task_queue",
}
ENTRIES = """
- name: elsewhere
  kind: workflow.host
  journal: app:journal
  task_queue: far
  workers: 1
  lifecycle: {auto_start: true}
"""
PID = "{app:orders|w}"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS, entries=ENTRIES)


def start(node: NodeProcess, entry: str, *args: Any, **options: Any) -> str:
    given = {"workflow.id": "w", **{f"workflow.{name}": each for name, each in options.items()}}
    return node.spawn(f"app:{entry}", HOST, *args, options=given)


def statuses(node: NodeProcess, workflow_id: str = "w") -> list[str]:
    return [row["status"] for row in node.do("runs") if row["workflow_id"] == workflow_id]


# Beginning ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("crash", [False, True])
def test_a_start_delay_holds_the_first_step_and_keeps_what_comes(app: Path, crash: bool) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "wait", start_delay="1h")
        node.send(pid, "early", {"answer": "early"})
        node.do("advance", seconds=3500)
        if crash:
            node.crash(wall=3500)
        assert node.kinds(pid) == ["started", "message"]
        node.do("advance", seconds=101)
        assert node.result(pid) == "early"
        assert node.kinds(pid) == ["started", "message", "timer_fired", "step", "completed"]
        node.stop()
    check_journal(app)


def test_a_run_that_has_not_begun_is_cancelled_at_once(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "wait", start_delay="1h")
        node.do("cancel", pid=pid, reason="not needed")
        with pytest.raises(PerdureError, match="canceled before it began"):
            node.result(pid)
        assert statuses(node) == ["cancelled"]
        assert node.kinds(pid) == ["started", "cancel_requested", "cancelled"]
        node.stop()
    check_journal(app)


# Time limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["run_timeout", "execution_timeout"])
@pytest.mark.parametrize("crash", [False, True])
def test_a_run_whose_time_is_up_has_timed_out(app: Path, option: str, crash: bool) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "wait", **{option: "1h"})
        node.do("advance", seconds=3000)
        assert statuses(node) == ["open"]
        if crash:
            node.crash(wall=3601)
        else:
            node.do("advance", seconds=601)
        with pytest.raises(PerdureError, match=option) as error:
            node.result(pid)
        assert error.value.kind == Kind.TIMEOUT
        assert statuses(node) == ["timed_out"]
        assert node.kinds(pid)[-1] == "timed_out"
        node.stop()
    check_journal(app)


def test_the_execution_timeout_counts_all_attempts_the_run_timeout_each(app: Path) -> None:
    policy = {"initial_interval": "1m", "maximum_interval": "1m"}
    limits = {"run_timeout": "10m", "execution_timeout": "30m"}
    with NodeProcess(app) as node:
        pid = start(node, "wait", retry_policy=policy, **limits)
        for run in range(1, 4):
            until(lambda run=run: len(statuses(node)) == run)  # type: ignore[misc]
            node.do("advance", seconds=601)
            until(lambda run=run: statuses(node)[run - 1] == "timed_out")  # type: ignore[misc]
            node.do("advance", seconds=61)
        with pytest.raises(PerdureError) as error:
            node.result(pid)
        assert error.value.kind == Kind.TIMEOUT
        assert statuses(node) == ["timed_out"] * 3
        node.stop()
    check_journal(app)


def test_a_step_that_takes_too_long_fails_the_run(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "busy", task_timeout="50ms")
        with pytest.raises(PerdureError, match="task_timeout of 50ms") as error:
            node.result(pid)
        assert error.value.kind == Kind.TIMEOUT


# What follows ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        [],
        ["journal.commit.before:3", "journal.commit.after:2", "journal.commit.before:2"],
        ["host.attempt.after:2", "host.effect.before:1", "journal.commit.after:3"],
    ],
)
def test_a_run_that_fails_is_tried_again(app: Path, faults: list[str]) -> None:
    def script(node: NodeProcess) -> Any:
        if not statuses(node):
            start(node, "flaky", 3, retry_policy={"initial_interval": 1})
        result = node.result(PID)
        assert statuses(node) == ["failed", "failed", "completed"]
        return result

    assert survive(app, script, *faults)[0] == 3


@pytest.mark.parametrize(
    ("policy", "kind", "runs"),
    [
        ({"initial_interval": 1, "maximum_attempts": 2}, None, 2),
        ({"initial_interval": 1, "non_retryable_error_types": ["Conflict"]}, "Conflict", 1),
        ({"initial_interval": 1, "maximum_attempts": 3}, "Canceled", 1),
    ],
)
def test_a_run_is_not_tried_again_when_its_policy_says_so(
    app: Path, policy: dict[str, Any], kind: str | None, runs: int
) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "flaky", 9, kind, retry_policy=policy)
        with pytest.raises(PerdureError, match=f"attempt {runs}"):
            node.result(pid)
        assert statuses(node) == [
            *["failed"] * (runs - 1),
            "cancelled" if kind == "Canceled" else "failed",
        ]


@pytest.mark.parametrize("crash", [False, True])
def test_a_cron_schedule_starts_run_after_run_until_it_is_cancelled(app: Path, crash: bool) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "tick", cron_schedule="0 * * * *")
        waiting = None if crash else node.ask("result", pid=pid, timeout=20)
        assert node.kinds(pid) == ["started"]
        for hours in range(1, 4):
            if crash:
                node.crash(wall=3600 * hours)
            else:
                node.do("advance", seconds=3600)
            until(lambda hours=hours: len(statuses(node)) == hours + 1)  # type: ignore[misc]
            if hours == 2:
                node.send(pid, "fail")  # the next run finds it
        assert statuses(node) == ["completed", "completed", "failed", "open"]
        node.do("cancel", pid=pid, reason="enough")
        assert statuses(node) == ["completed", "completed", "failed", "cancelled"]
        if waiting is not None:
            assert "canceled" in str(waiting.exception(20))
        node.stop()
    check_journal(app)


# Children ----------------------------------------------------------------------------------------

CLOSED = [
    (None, "terminated"),
    ("terminate", "terminated"),
    ("abandon", "open"),
    ("request_cancel", "completed"),
]


@pytest.mark.parametrize("how", ["returns", "fails", "terminated", "times out"])
def test_what_becomes_of_a_child_whose_parent_has_ended(app: Path, how: str) -> None:
    with NodeProcess(app) as node:
        for policy, status in CLOSED:
            pid = start(node, "parent", policy, id=f"parent-{policy}", run_timeout="10h")
            node.until_recorded(pid, "child_started")
            if how == "terminated":
                node.do("terminate", pid=pid)
            elif how == "times out":
                node.do("advance", seconds=36001)
            else:
                node.send(pid, "end", {"fail": how == "fails"})
            if how == "returns":
                assert node.result(pid) == "parent ended"
            else:
                with pytest.raises(PerdureError):
                    node.result(pid)
            child = "{app:orders|child}"
            if status == "open":
                assert statuses(node, "child")[-1] == "open"
                node.send(child, "end")
                assert node.result(child) == "asked"
            elif status == "completed":
                assert node.result(child) == "pid.cancel"
            else:
                with pytest.raises(PerdureError, match="process terminated"):
                    node.result(child)
        node.stop()
    check_journal(app)


def test_the_child_of_an_exec_ends_with_its_parent(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "parent", None, "exec")
        until(lambda: statuses(node, "child") == ["open"])
        node.do("terminate", pid=pid)
        with pytest.raises(PerdureError, match="process terminated"):
            node.result("{app:orders|child}")


@pytest.mark.parametrize("crash", [False, True])
def test_the_child_of_a_last_step_ends_with_its_parent(app: Path, crash: bool) -> None:
    with NodeProcess(app) as node:
        if crash:
            node.do("arm", fault="journal.commit.after:1")
            node.ask("spawn", entry="app:hasty", host=HOST, args=[], options={"workflow.id": "w"})
            node.wait_dead()
            node.crash()
        else:
            assert node.result(start(node, "hasty")) == "ended"
        until(lambda: statuses(node, "child") == ["terminated"])
        node.stop()
    check_journal(app)


def test_a_workflow_that_was_there_before_is_no_child(app: Path) -> None:
    with NodeProcess(app) as node:
        theirs = node.spawn("app:wait", HOST, options={"workflow.id": "mine"})
        assert node.result(start(node, "borrows")) == theirs
        node.send(theirs, "end")
        assert node.result(theirs) == "ended"


@pytest.mark.parametrize(
    "faults",
    [
        ["journal.commit.after:4", "host.effect.before:2", "host.effect.before:1"],
        ["journal.commit.before:4", "journal.commit.after:2", "journal.commit.before:2"],
    ],
)
def test_the_end_of_a_child_is_asked_for_through_crashes(app: Path, faults: list[str]) -> None:
    def script(node: NodeProcess) -> Any:
        if not statuses(node):
            start(node, "parent", "terminate")
        node.send(PID, "end", key="end")
        assert node.result(PID) == "parent ended"
        with pytest.raises(PerdureError, match="process terminated"):
            node.result("{app:orders|child}")

    survive(app, script, *faults)


# Options -----------------------------------------------------------------------------------------


def test_a_task_queue_chooses_the_worker(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = start(node, "where", task_queue="far")
        assert pid == "{app:elsewhere|w}"
        assert node.result(pid) == "far"
        with pytest.raises(PerdureError, match="nowhere") as error:
            start(node, "where", task_queue="nowhere")
        assert error.value.kind == Kind.NOT_FOUND


def test_rules_are_written_as_they_are_read() -> None:
    given = {
        "workflow.run_timeout": "1h",
        "temporal.workflow.task_timeout": 500,
        "workflow.retry_policy": {"maximum_attempts": 3, "non_retryable_error_types": ["Invalid"]},
        "workflow.cron_schedule": "@daily",
    }
    rules = start_options(given).rules._replace(execution_deadline=7)
    assert Rules.of({"rules": rules.written()}) == rules
    assert Rules.of({}) == NO_RULES
    assert NO_RULES.written() == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workflow.cron_schedule": "often"}, "minute, hour"),
        ({"workflow.cron_schedule": "@daily", "workflow.start_delay": 5}, "exclude"),
        ({"workflow.run_timeout": "long"}, "long"),
        ({"workflow.parent_close_policy": "forget"}, "terminate, abandon, request_cancel"),
        ({"workflow.retry_policy": {"tries": 3}}, "tries"),
        ({"workflow.id": 7}, "workflow.id must be a text"),
        ({"workflow.task_queue": ""}, "workflow.task_queue must be a text"),
        ({"workflow.start_dealy": 5}, "start_delay"),
        ({"workflow.start_delay": 1e20}, "1e.20 ms is too long"),
        ({"workflow.task_timeout": math.inf}, "inf ms is too long"),
        ({"workflow.retry_policy": {"initial_interval": math.inf}}, "inf ms is too long"),
        ({"workflow.retry_policy": {"maximum_attempts": math.inf}}, "maximum_attempts is inf"),
        ({"workflow.retry_policy": {"backoff_coefficient": math.inf}}, "coefficient is inf"),
    ],
)
def test_options_that_are_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PerdureError, match=message) as error:
        start_options(options)
    assert error.value.kind == Kind.INVALID
