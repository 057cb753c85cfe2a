"""When a workflow begins, how long it may take, what follows on its end, what becomes of its
children. On both hosts; what a crash at one point of a journal does to it is the last part."""

from __future__ import annotations

import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hosts.start_options import NO_RULES, Rules, start_options
from runtime.errors import Kind, PerdureError
from supervision.node import Node
from tests import both_hosts
from tests.both_hosts import Host, failure, statuses, until_runs, until_told
from tests.crash_lab import PATIENCE, NodeProcess, check_journal, survive, until
from tests.durable_lab import HOST, durable_app, node_fixture

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
        local inbox, events = process.inbox(), process.events()
        local got = channel.select({inbox:case_receive(), events:case_receive(), default = true})
        if got.channel == inbox then error("told to fail") end
        if got.channel == events then
          return nil, errors.new{message = "canceled", kind = errors.CANCELED}
        end
        return "ticked"
    """,
    "busy": "while true do end",
    "parent": """
        local policy, child, how = ...
        local with = process.with_options({
          ["workflow.id"] = child, ["workflow.parent_close_policy"] = policy,
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
        local child, policy = ...
        coroutine.spawn(function()
          local with = process.with_options({
            ["workflow.id"] = child, ["workflow.parent_close_policy"] = policy,
          })
          with:spawn("app:wait", "app:orders")
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
  kind: temporal.worker
  client: app:journal
  task_queue: far
  workers: 1
  lifecycle: {auto_start: true}
"""
start = partial(both_hosts.start, worker=HOST)
run = partial(both_hosts.run, worker=HOST)


node = node_fixture(WORKFLOWS, ENTRIES)


def ending(node: Node, pid: str) -> PerdureError:
    return failure(lambda: node.result(pid, PATIENCE))


def pid_of(workflow_id: str) -> str:
    return f"{{{HOST}|{workflow_id}}}"


# Beginning ---------------------------------------------------------------------------------------


def test_a_start_delay_holds_the_first_step_and_keeps_what_comes(node: Node) -> None:
    began = time.monotonic()
    pid = start(node, "wait", start_delay="1s")
    node.send(pid, "early", {"answer": "early"})
    assert node.result(pid, PATIENCE) == "early"
    assert time.monotonic() - began >= 1


def test_a_run_that_has_not_begun_is_cancelled_at_once(node: Node, host: Host) -> None:
    """On a server it begins, and hears of it."""
    pid = start(node, "stubborn", start_delay="1s" if host.server else "1h", id="not begun")
    node.cancel(pid, "not needed")
    if host.server:
        assert node.result(pid, PATIENCE) == "pid.cancel"
        return
    assert "canceled before it began" in ending(node, pid).message
    assert statuses(node, "not begun") == ["cancelled"]


# Time limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["run_timeout", "execution_timeout"])
def test_a_run_whose_time_is_up_has_timed_out(node: Node, option: str) -> None:
    began = time.monotonic()
    pid = start(node, "wait", id=option, **{option: "1s"})
    error = ending(node, pid)
    assert time.monotonic() - began >= 1
    assert error.kind == Kind.TIMEOUT
    assert option in error.message
    until_runs(node, option, "timed_out")
    until_told(node, pid, "timed_out")


def test_the_execution_timeout_counts_all_attempts_the_run_timeout_each(node: Node) -> None:
    policy = {"initial_interval": 1, "maximum_interval": 1}
    began = time.monotonic()
    limits = {"run_timeout": "1s", "execution_timeout": "3s"}
    pid = start(node, "wait", id="limited", retry_policy=policy, **limits)
    assert ending(node, pid).kind == Kind.TIMEOUT
    assert time.monotonic() - began >= 3
    assert len(statuses(node, "limited")) > 1
    assert {*statuses(node, "limited")} == {"timed_out"}


def test_a_step_that_takes_too_long_fails_the_run(node: Node, host: Host) -> None:
    """On a server its fuel is what ends it: the task timeout is also that of the replay before."""
    error = ending(node, start(node, "busy", task_timeout="50ms"))
    if host.server:
        assert (error.kind, "out of fuel" in error.message) == (Kind.INTERNAL, True)
    else:
        assert (error.kind, "task_timeout of 50ms" in error.message) == (Kind.TIMEOUT, True)


# What follows ------------------------------------------------------------------------------------


def test_a_run_that_fails_is_tried_again(node: Node) -> None:
    assert run(node, "flaky", 3, id="flaky", retry_policy={"initial_interval": 1}) == 3
    until_runs(node, "flaky", "failed", "failed", "completed")


@pytest.mark.parametrize(
    ("policy", "kind", "runs"),
    [
        ({"initial_interval": 1, "maximum_attempts": 2}, None, 2),
        ({"initial_interval": 1, "non_retryable_error_types": ["Conflict"]}, "Conflict", 1),
        ({"initial_interval": 1, "maximum_attempts": 3}, "Canceled", 1),
    ],
)
def test_a_run_is_not_tried_again_when_its_policy_says_so(
    node: Node, policy: dict[str, Any], kind: str | None, runs: int
) -> None:
    pid = start(node, "flaky", 9, kind, id=f"final-{kind}", retry_policy=policy)
    assert f"attempt {runs}" in ending(node, pid).message
    last = "cancelled" if kind == "Canceled" else "failed"
    until_runs(node, f"final-{kind}", *["failed"] * (runs - 1), last)


def test_a_cron_schedule_starts_run_after_run_until_it_is_cancelled(node: Node) -> None:
    pid = start(node, "tick", id="cron", cron_schedule="@every 1s")
    until_runs(node, "cron", "completed", "open")
    node.send(pid, "fail")  # the next run finds it
    until_runs(node, "cron", "completed", "failed", "open")
    node.cancel(pid, "enough")
    until_runs(node, "cron", "completed", "failed", "cancelled")
    assert "canceled" in ending(node, pid).message


# Children ----------------------------------------------------------------------------------------

CLOSED = [
    (None, "terminated"),
    ("terminate", "terminated"),
    ("abandon", "open"),
    ("request_cancel", "completed"),
]


@pytest.mark.parametrize("how", ["returns", "fails", "terminated", "times out"])
def test_what_becomes_of_a_child_whose_parent_has_ended(node: Node, how: str) -> None:
    limit = {"run_timeout": "1s"} if how == "times out" else {}
    parents = {
        policy: start(node, "parent", policy, f"child of {policy} that {how}", **limit)
        for policy, _ in CLOSED
    }
    for policy, status in CLOSED:
        pid, child = parents[policy], pid_of(f"child of {policy} that {how}")
        until_told(node, pid, "child_started")
        if how == "terminated":
            node.terminate(pid)
        elif how != "times out":
            node.send(pid, "end", {"fail": how == "fails"})
        if how == "returns":
            assert node.result(pid, PATIENCE) == "parent ended"
        else:
            ending(node, pid)
        if status == "open":
            node.send(child, "end")
            assert node.result(child, PATIENCE) == "asked"
        elif status == "completed":
            assert node.result(child, PATIENCE) == "pid.cancel"
        else:
            assert ending(node, child).message == "process terminated"


def test_the_child_of_an_exec_ends_with_its_parent(node: Node) -> None:
    pid = start(node, "parent", None, "child of an exec", "exec")
    until_runs(node, "child of an exec", "open")
    node.terminate(pid)
    assert ending(node, pid_of("child of an exec")).message == "process terminated"


@pytest.mark.parametrize("policy", ["terminate", "abandon"])
def test_the_child_of_a_last_step(node: Node, policy: str) -> None:
    """It is started, and ends with its parent when that is its policy."""
    child = f"last child, {policy}"
    assert run(node, "hasty", child, policy) == "ended"
    until_runs(node, child, "terminated" if policy == "terminate" else "open")


def test_a_workflow_that_was_there_before_is_no_child(node: Node) -> None:
    theirs = start(node, "wait", id="mine")
    assert run(node, "borrows") == theirs
    node.send(theirs, "end")
    assert node.result(theirs, PATIENCE) == "ended"


# Options -----------------------------------------------------------------------------------------


def test_a_task_queue_chooses_the_worker(node: Node, host: Host) -> None:
    """On a server another node may serve it: its run waits, and the PID names who was asked."""
    pid = start(node, "where", id="w", task_queue="far")
    assert pid == ("{app:orders|w}" if host.server else "{app:elsewhere|w}")
    assert node.result(pid, PATIENCE) == "far"
    if host.server:
        until_told(node, start(node, "where", task_queue="nowhere"), "started")
    else:
        error = failure(lambda: start(node, "where", task_queue="nowhere"))
        assert (error.kind, "nowhere" in error.message) == (Kind.NOT_FOUND, True)


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


# Through crashes at points of a journal ----------------------------------------------------------


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS, entries=ENTRIES)


def has_started(node: NodeProcess) -> bool:
    return bool(node.do("runs"))


@pytest.mark.parametrize(
    "faults",
    [
        ["journal.commit.before:3", "journal.commit.after:2", "journal.commit.before:2"],
        ["host.attempt.after:2", "host.effect.before:1", "journal.commit.after:3"],
    ],
)
def test_a_retry_is_made_through_crashes(app: Path, faults: list[str]) -> None:
    def script(node: NodeProcess) -> Any:
        if not has_started(node):
            start(node, "flaky", 3, id="w", retry_policy={"initial_interval": 1})
        result = node.result(pid_of("w"))
        assert [row["status"] for row in node.do("runs")] == ["failed", "failed", "completed"]
        return result

    assert survive(app, script, *faults)[0] == 3


def test_the_child_of_a_last_step_ends_with_its_parent_through_a_crash(app: Path) -> None:
    with NodeProcess(app) as node:
        node.do("arm", fault="journal.commit.after:1")
        node.ask("spawn", entry="app:hasty", host=HOST, args=["child"])
        node.wait_dead()
        node.crash()
        until(lambda: [row["status"] for row in node.do("runs")] == ["completed", "terminated"])
        node.stop()
    check_journal(app)


@pytest.mark.parametrize(
    "faults",
    [
        ["journal.commit.after:4", "host.effect.before:2", "host.effect.before:1"],
        ["journal.commit.before:4", "journal.commit.after:2", "journal.commit.before:2"],
    ],
)
def test_the_end_of_a_child_is_asked_for_through_crashes(app: Path, faults: list[str]) -> None:
    def script(node: NodeProcess) -> Any:
        if not has_started(node):
            start(node, "parent", "terminate", "child", id="w")
        node.send(pid_of("w"), "end", key="end")
        assert node.result(pid_of("w")) == "parent ended"
        with pytest.raises(PerdureError, match="process terminated"):
            node.result(pid_of("child"))

    survive(app, script, *faults)
