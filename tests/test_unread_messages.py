"""What was acknowledged to a run that did not read it goes to the run that follows: a retry, the
next of its schedule, one that goes on as new. On both hosts; what a crash at one point of a journal
does to it, and time that only a journal can be told to pass, is the last part."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from supervision.control import workflows
from supervision.node import Node
from tests import both_hosts
from tests.both_hosts import TEMPORAL, Host, only_on, until_runs, until_told
from tests.crash_lab import PATIENCE, NodeProcess, check_journal, effects_by_key, survive, until
from tests.durable_lab import HOST, durable_app, node_fixture

WORKFLOWS = {
    # Each attempt hears one message more; the first waits until all have come.
    "hears_one": """
        local attempts = ...
        local attempt = workflow.info().attempt
        local log = process.listen("log", {message = true})
        if attempt == 1 then process.listen("go"):receive() end
        local got = channel.select({log:case_receive(), process.inbox():case_receive()})
        local msg = got.value
        local heard = msg:topic() .. ":" .. tostring(msg:payload():data())
        assert(funcs.call("app:effect", heard, attempt))
        if attempt < attempts then error("not yet") end
        return {heard, msg:from()}
    """,
    "ticks": """
        local go = process.listen("go")
        local how = go:receive()
        local inbox = process.inbox()
        local n = inbox:receive():payload():data()
        if how == "fail" then error(n) end
        return n
    """,
    "oversleeps": """
        local inbox = process.inbox()
        if workflow.info().attempt == 1 then time.sleep("24h") end
        local heard = {}
        for i = 1, 3 do heard[i] = inbox:receive():payload():data() end
        return heard
    """,
    "starter": """
        local policy = {initial_interval = 1, maximum_attempts = 3}
        local child = process.with_options({["workflow.retry_policy"] = policy})
        child = child:with_message("one", 1):with_message("two", 2)
        return child:exec("app:started", "app:orders", ...)
    """,
    # Reads one of the two that it was started with; what it was started with comes with each start.
    "started": """
        local inbox, first = process.inbox(), nil
        first = inbox:receive():topic()
        if workflow.info().attempt < ... then error("not yet") end
        local second, more = inbox:receive():topic(), nil
        local third = channel.select({inbox:case_receive(), default = true})
        return {first, second, third.default or third.value:topic()}
    """,
    # Its first run ends while its sends are under way: a server takes a while for so many.
    "hurries": """
        local how, peer = ...
        local listens = {inbox = process.inbox(), events = process.events()}
        if how and workflow.info().attempt == 1 then
          local with = process.with_options({
            ["workflow.id"] = "child that " .. how, ["workflow.parent_close_policy"] = "abandon",
          })
          with:spawn("app:child", "app:orders")
          for i = 1, 50 do coroutine.spawn(function() process.send(peer, "n", i) end) end
          if how == "fails" then error("not yet") end
          process.upgrade()
        end
        local heard = {}
        for i = 1, how and 2 or 4 do
          local got = channel.select{listens.inbox:case_receive(), listens.events:case_receive()}
          local is_event = got.channel == listens.events
          heard[i] = is_event and got.value.kind or got.value:payload():data()
        end
        table.sort(heard)
        return heard
    """,
    # Its first run ends with events that have come, and that it has not looked at.
    "looks_late": """
        local events = process.events()
        if ... then
          local cancel, exit = events:receive(), events:receive()
          local error = exit.result.error
          return {
            cancel.kind, cancel.reason, cancel.at:unix() > 0,
            exit.kind, exit.from, error:kind(), error:details(),
          }
        end
        process.with_options({["workflow.id"] = "loser"}):spawn("app:loses", "app:orders")
        process.listen("go"):receive()
        process.upgrade(nil, true)
    """,
    "cancelled_early": """
        local events, go = process.events(), process.listen("go")
        if workflow.info().attempt == 1 then
          -- What comes while a step takes so long comes to a server's run in one activation.
          if go:receive() == "think" then for i = 1, 1e7 do end go:receive() end
          error("not yet")
        end
        local cancel = events:receive()
        return {cancel.kind, cancel.reason, cancel.at:unix() > 0}
    """,
    "loses": "return nil, errors.new({message = 'lost', kind = errors.CONFLICT, details = {1}})",
    "says": 'process.send(..., "more", math.huge) return process.pid()',
    "child": "process.inbox():receive()",
    "hears_all": "for _ = 1, ... do process.inbox():receive() end",
    "lengths": """
        local n, attempt, inbox = ..., workflow.info().attempt, process.inbox()
        if attempt == 1 then
          process.listen("go"):receive()
          -- The request to a server is full, and what is left goes with another.
          for i = 1, 2 do funcs.async("app:effect", i, ("y"):rep(1200000)) end
          error("not yet")
        end
        for i = 1, n do
          if #inbox:receive():payload():data() ~= 900000 then return "another one" end
        end
        return n
    """,
}
PID = "{app:orders|w}"
POLICY = {"initial_interval": 1}
start = partial(both_hosts.start, worker=HOST)


node = node_fixture(WORKFLOWS)


def ends(node: Node, pid: str) -> list[Any]:
    """What the runs of a workflow have returned, or failed with, the oldest first."""
    runs = node.workflows(f'workflow_id = "{pid[1:-1].partition("|")[2]}"', limit=0)
    last = [workflows.history(node, pid, row["run_id"])[-1]["data"] for row in reversed(runs)]
    return [each.get("result", each.get("error")) for each in last]


def test_a_retry_hears_what_the_attempt_before_had_not_read(node: Node) -> None:
    pid = start(node, "hears_one", 3, retry_policy=POLICY)
    for n, topic in enumerate(["log", "other"]):
        node.send(pid, topic, n, key=str(n))
    sender = both_hosts.run(node, "says", pid, worker=HOST)
    node.send(pid, "go")
    assert node.result(pid, PATIENCE) == ["more:inf", sender]


def test_a_retry_knows_the_keys_of_the_attempt_before(node: Node) -> None:
    pid = start(node, "hears_one", 2, id="keys", retry_policy={"initial_interval": "1s"})
    node.send(pid, "log", "once", key="once")
    node.send(pid, "go", key="go")
    until_runs(node, "keys", "failed", "open")
    node.send(pid, "log", "once", key="once")
    node.send(pid, "log", "twice", key="twice")
    assert node.result(pid, PATIENCE) == ["log:twice", ""]


@only_on(TEMPORAL, "a journal can be told that time has passed, see below")
def test_the_next_of_a_schedule_hears_what_the_one_before_had_not_read(node: Node) -> None:
    pid = start(node, "ticks", id="ticks", cron_schedule="@every 1s")
    for n in range(3):
        node.send(pid, "n", n)
    ended = []
    for how, status in [("end", "completed"), ("fail", "failed"), ("end", "completed")]:
        node.send(pid, "go", how)
        ended.append(status)
        until_runs(node, "ticks", *ended, "open")
    first, second, third, _ = ends(node, pid)
    assert (first, "1" in str(second), third) == (0, True, 2)
    node.terminate(pid)


def test_what_a_run_was_started_with_comes_once_with_each_attempt(node: Node, host: Host) -> None:
    attempts = 2 if host.server else 3
    assert both_hosts.run(node, "starter", attempts, worker=HOST) == ["one", "two", True]


def test_events_that_nobody_has_read_go_to_the_run_that_goes_on(node: Node) -> None:
    pid = start(node, "looks_late")
    node.cancel(pid, "enough")
    until_told(node, pid, "child_ended")
    until_told(node, pid, "cancel_requested")
    node.send(pid, "go")
    cancel, exit_ = ["pid.cancel", "enough", True], ["pid.exit", "{app:orders|loser}"]
    assert node.result(pid, PATIENCE) == [*cancel, *exit_, "Conflict", [1]]


def test_a_retry_hears_that_the_attempt_before_was_to_end(node: Node) -> None:
    pid = start(node, "cancelled_early", retry_policy=POLICY)
    until_told(node, pid, "step")
    node.cancel(pid, "enough")
    until_told(node, pid, "step", 2)
    node.send(pid, "go")
    assert node.result(pid, PATIENCE) == ["pid.cancel", "enough", True]


@only_on(TEMPORAL, "a journal ends a run that waits for its time to begin")
def test_a_retry_hears_that_the_attempt_was_to_end_when_it_failed(node: Node) -> None:
    pid = start(node, "cancelled_early", retry_policy=POLICY)
    until_told(node, pid, "step")
    node.send(pid, "go", "think")
    node.send(pid, "go")
    node.cancel(pid, "enough")
    assert node.result(pid, PATIENCE) == ["pid.cancel", "enough", True]


@pytest.mark.parametrize("how", ["fails", "goes on"])
def test_what_comes_behind_the_last_step_goes_to_the_run_that_follows(
    node: Node, host: Host, how: str
) -> None:
    peer = start(node, "hears_all", 50)
    pid = start(node, "hurries", how, peer, id=how, retry_policy=POLICY)
    if host.server:
        until_told(node, pid, "message_sent")
    for n in ("one", "two"):
        node.send(pid, "n", n)
    expected = ["one", "two"]
    if how == "goes on":
        child = pid.replace(how, f"child that {how}")
        node.send(child, "end")
        node.cancel(pid, "enough")
        expected = ["one", "pid.cancel", "pid.exit", "two"]
    assert node.result(pid, PATIENCE) == expected
    node.result(peer, PATIENCE)


def test_more_than_a_server_takes_is_told_in_the_log(
    node: Node, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    pid = start(node, "lengths", 2 if host.server else 3, id="lengths", retry_policy=POLICY)
    for _ in range(3):
        node.send(pid, "text", "x" * 900_000)
    node.send(pid, "go")
    assert node.result(pid, PATIENCE) == (2 if host.server else 3)
    run_id = node.workflows('workflow_id = "lengths"', limit=0)[-1]["run_id"]
    # A step that the server has made again tells it again.
    told = {each for each in caplog.messages if run_id in each}
    expected = "had not read 3 messages and events; the next run gets the first 2"
    assert [expected in each for each in told] == ([True] if host.server else [])


# On a journal ------------------------------------------------------------------------------------


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS)


def start_there(node: NodeProcess, entry: str, *args: Any, **options: Any) -> str:
    return both_hosts.start(node, entry, *args, key="start", worker=HOST, id="w", **options)


@pytest.mark.parametrize(
    "faults",
    [
        ["journal.commit.before:6", "journal.commit.before:2", "journal.commit.before:2"],
        ["journal.commit.after:6", "journal.commit.after:2", "journal.commit.after:1"],
        ["host.chain.before:1", "host.chain.before:1", "host.effect.before:1"],
    ],
)
def test_a_retry_hears_it_through_crashes(app: Path, faults: list[str]) -> None:
    def script(node: NodeProcess) -> Any:
        start_there(node, "hears_one", 4, retry_policy=POLICY)
        for n, topic in enumerate(["log", "other", "log", "more"]):
            node.send(PID, topic, n, key=str(n))
        node.send(PID, "go", key="go")
        return node.result(PID)

    result, deaths = survive(app, script, *faults)
    assert deaths == len(faults)
    assert result == ["more:3", ""]
    assert effects_by_key(app) == [
        ("log:0", [1]), ("log:2", [2]), ("other:1", [3]), ("more:3", [4])
    ]  # fmt: skip


def test_the_next_of_a_schedule_hears_it_through_crashes(app: Path) -> None:
    with NodeProcess(app) as node:
        start_there(node, "ticks", cron_schedule="0 * * * *")
        for n in range(3):
            node.send(PID, "n", n)
        for hours in range(1, 4):
            node.crash(wall=3600 * hours)
            node.send(PID, "go", "fail" if hours == 2 else "end")
            until(lambda hours=hours: len(node.do("runs")) == hours + 1)  # type: ignore[misc]
        ends = [node.history(PID, row["run"])[-1] for row in node.do("runs")[:3]]
        assert [end[0] for end in ends] == ["completed", "failed", "completed"]
        assert [end[1] for end in ends[::2]] == [0, 2]
        node.kill()
    check_journal(app)


def test_a_retry_of_a_run_that_took_too_long_hears_it_too(app: Path) -> None:
    """On a server nobody steps a run that takes too long, to ask it for what it has not read."""
    with NodeProcess(app) as node:
        start_there(node, "oversleeps", retry_policy=POLICY, run_timeout="1h")
        for n in range(2):
            node.send(PID, "n", n)
        node.do("advance", seconds=3601)
        node.until_recorded(PID, "step")
        node.send(PID, "n", 2)
        assert node.result(PID) == [0, 1, 2]
        node.stop()
    check_journal(app)
