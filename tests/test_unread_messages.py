"""What was acknowledged to a run that did not read it goes to the run that follows, in the same
transaction: a retry, or the next of its schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.crash_lab import NodeProcess, check_journal, effects_by_key, survive, until
from tests.durable_lab import HOST, durable_app

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
        return heard
    """,
    "ticks": """
        local go = process.listen("go")
        go:receive()
        local inbox = process.inbox()
        return inbox:receive():payload():data()
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
        return child:exec("app:started", "app:orders")
    """,
    # Reads one of the two that it was started with; what it was started with comes with each start.
    "started": """
        local inbox, first = process.inbox(), nil
        first = inbox:receive():topic()
        if workflow.info().attempt < 3 then error("not yet") end
        local second, more = inbox:receive():topic(), nil
        local third = channel.select({inbox:case_receive(), default = true})
        return {first, second, third.default or third.value:topic()}
    """,
}
PID = "{app:orders|w}"
POLICY = {"initial_interval": 1}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS)


def start(node: NodeProcess, entry: str, *args: Any, **options: Any) -> str:
    given = {"workflow.id": "w", **{f"workflow.{name}": each for name, each in options.items()}}
    return node.spawn(f"app:{entry}", HOST, *args, options=given, key="start")


@pytest.mark.parametrize(
    "faults",
    [
        [],
        ["journal.commit.before:6", "journal.commit.before:2", "journal.commit.before:2"],
        ["journal.commit.after:6", "journal.commit.after:2", "journal.commit.after:1"],
        ["host.chain.before:1", "host.chain.before:1", "host.effect.before:1"],
    ],
)
def test_a_retry_hears_what_the_attempt_before_had_not_read(app: Path, faults: list[str]) -> None:
    def script(node: NodeProcess) -> Any:
        start(node, "hears_one", 4, retry_policy=POLICY)
        for n, topic in enumerate(["log", "other", "log", "more"]):
            node.send(PID, topic, n, key=str(n))
        node.send(PID, "go", key="go")
        return node.result(PID)

    result, deaths = survive(app, script, *faults)
    assert deaths == len(faults)
    assert result == "more:3"
    assert effects_by_key(app) == [
        ("log:0", [1]), ("log:2", [2]), ("other:1", [3]), ("more:3", [4])
    ]  # fmt: skip


@pytest.mark.parametrize("crash", [False, True])
def test_the_next_of_a_schedule_hears_what_the_one_before_had_not_read(
    app: Path, crash: bool
) -> None:
    with NodeProcess(app) as node:
        start(node, "ticks", cron_schedule="0 * * * *")
        for n in range(3):
            node.send(PID, "n", n)
        for hours in range(1, 4):
            if crash:
                node.crash(wall=3600 * hours)
            else:
                node.do("advance", seconds=3600)
            node.send(PID, "go")
            until(lambda hours=hours: len(node.do("runs")) == hours + 1)  # type: ignore[misc]
        ends = [node.history(PID, row["run"])[-1] for row in node.do("runs")[:3]]
        assert [end[:2] for end in ends] == [["completed", n] for n in range(3)]
        node.kill()
    check_journal(app)


def test_a_retry_of_a_run_that_took_too_long_hears_it_too(app: Path) -> None:
    with NodeProcess(app) as node:
        start(node, "oversleeps", retry_policy=POLICY, run_timeout="1h")
        for n in range(2):
            node.send(PID, "n", n)
        node.do("advance", seconds=3601)
        node.until_recorded(PID, "step")
        node.send(PID, "n", 2)
        assert node.result(PID) == [0, 1, 2]
        node.stop()
    check_journal(app)


def test_what_a_run_was_started_with_comes_once_with_each_attempt(app: Path) -> None:
    with NodeProcess(app) as node:
        assert node.result(node.spawn("app:starter", HOST)) == ["one", "two", True]
        node.stop()
    check_journal(app)
