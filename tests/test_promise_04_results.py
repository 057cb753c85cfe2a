"""Promise 4: a result is recorded once; attempts are journaled before they run; poison is found.

Points at calls of the journal are for the journal only; test_temporal_poison.py has how a server's
activities are found to be poison.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from runtime.errors import Kind, PerdureError
from supervision import Node
from tests.both_hosts import Host
from tests.crash_lab import (
    NodeDied,
    NodeProcess,
    check_journal,
    effects,
    effects_by_key,
    until,
)
from tests.durable_lab import HOST, durable_app
from tests.process_lab import NodeClock

WORKFLOWS = {
    "call": """
        local target, options, name = ...
        return funcs.new():with_options(options or {}):call(target, name)
    """,
    "two": """
        local a = funcs.async("app:effect", "left")
        local b = funcs.async("app:effect", "right")
        return {a:response():receive():data(), b:response():receive():data()}
    """,
    "changed_its_mind": """
        local future = funcs.async("app:effect", "unwanted")
        process.inbox():receive()
        future:cancel()
        process.inbox():receive()
        return "done"
    """,
    "wait": 'process.inbox():receive() return "heard"',
}
FUNCTIONS = """
import os

def flaky(name):
    effect(name)
    if ctx.get("activity.attempt") < 3:
        raise PerdureError("Unavailable", f"attempt {ctx.get('activity.attempt')}")
    return ctx.get("activity.attempt")

def hopeless(name):
    effect(name)
    raise PerdureError("Invalid", "no", False)

def poison(name):
    effect(name)
    os.kill(os.getpid(), 9)

def slow(name):
    effect(name)
    return "late"
"""
TARGETS = ("flaky", "hopeless", "poison", "slow")
RETRY = {"activity.retry_policy": {"initial_interval": 1, "maximum_attempts": 5}}
ID = {"workflow.id": "run"}
PID = "{app:orders|run}"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS, FUNCTIONS, TARGETS)


@pytest.fixture(scope="module")
def node(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node for tests of both hosts, each of which has names of its own for what it calls."""
    folder = tmp_path_factory.mktemp("app")
    with NodeProcess(durable_app(folder, WORKFLOWS, FUNCTIONS, TARGETS, host=host)) as running:
        yield running
    host.check(folder)


def attempts(app: Path, name: str) -> list[int | None]:
    return [effect.attempt for effect in effects(app) if effect.function == name]


def ran(app: Path, name: str, times: int) -> bool:
    return len(attempts(app, name)) == times


def keys(app: Path, name: str) -> set[str | None]:
    return {effect.key for effect in effects(app) if effect.function == name}


# On both hosts -----------------------------------------------------------------------------------


def test_every_attempt_has_the_same_key_and_its_number(node: NodeProcess) -> None:
    pid = node.spawn("app:call", HOST, "app:flaky", RETRY, "f")
    assert node.result(pid) == 3
    assert attempts(node.app, "f") == [1, 2, 3]
    assert keys(node.app, "f") == {f"{node.shown(pid)['run_id']}/1"}
    kinds = node.kinds(pid)
    assert (kinds.count("activity_scheduled"), kinds.count("activity_completed")) == (1, 1)


def test_by_default_there_is_one_attempt(node: NodeProcess) -> None:
    pid = node.spawn("app:call", HOST, "app:flaky", None, "once")
    with pytest.raises(PerdureError, match="attempt 1") as error:
        node.result(pid)
    assert error.value.kind == Kind.UNAVAILABLE
    assert attempts(node.app, "once") == [1]


def test_an_error_that_is_not_retryable_is_not_tried_again(node: NodeProcess) -> None:
    pid = node.spawn("app:call", HOST, "app:hopeless", RETRY, "h")
    with pytest.raises(PerdureError, match="no"):
        node.result(pid)
    assert attempts(node.app, "h") == [1]


def test_the_first_result_wins(node: NodeProcess) -> None:
    """A time-out is recorded; what the function returns later is nobody's result."""
    (node.app / "hang-s").touch()
    timeout = {"activity.start_to_close_timeout": "30ms"}
    pid = node.spawn("app:call", HOST, "app:slow", timeout, "s")
    with pytest.raises(PerdureError) as error:
        node.result(pid)
    assert error.value.kind == Kind.TIMEOUT
    (node.app / "hang-s").unlink()
    # Another run of the same function shows that the late one has had its chance.
    assert node.result(node.spawn("app:call", HOST, "app:slow", None, "other")) == "late"
    kinds = node.kinds(pid)
    # A server has it from the node, whose error says so, or by itself.
    assert {"activity_timed_out", "activity_failed"} & {*kinds}
    assert "activity_completed" not in kinds


def test_what_crashes_do_to_calls_under_way(node: NodeProcess, host: Host) -> None:
    """What was lost is run again, whatever its policy; what has a result, or is not wanted any
    more, is not. What takes the node down is failed: on a server when its attempts are over, on a
    journal when it has done so alone three times."""
    app, names = node.app, ("poison", "lost", "right", "unwanted")
    for name in names:
        (app / f"hang-{name}").touch()
    twice = {"activity.retry_policy": {"initial_interval": 1, "maximum_attempts": 2}}
    poisoned = node.spawn("app:call", HOST, "app:poison", twice, "poison")
    lost = node.spawn("app:call", HOST, "app:slow", None, "lost")
    two = node.spawn("app:two", HOST)
    changed = node.spawn("app:changed_its_mind", HOST)
    until(lambda: all(attempts(app, name) == [1] for name in names))
    node.until_recorded(two, "activity_completed")
    node.send(changed, "cancel it")
    asked = "activity_cancel_requested" if host.server else "activity_cancelled"
    node.until_recorded(changed, asked)
    node.do("arm", fault="host.attempt.after:1")
    (app / "hang-lost").unlink()
    node.wait_dead()
    (app / "hang-poison").unlink()
    for _ in range(1 if host.server else 3):
        with suppress(NodeDied):  # the poison may work before the node has said it is ready
            node.crash()
            node.wait_dead()
    node.crash()
    with pytest.raises(PerdureError) as error:
        node.result(poisoned)
    assert error.value.kind == (Kind.TIMEOUT if host.server else Kind.INTERNAL)
    assert node.shown(poisoned)["status"] == "failed"
    assert node.result(lost) == "late"
    (app / "hang-right").unlink()
    assert node.result(two) == ["left", "right"]
    node.send(changed, "end")
    assert node.result(changed) == "done"
    assert attempts(app, "poison") == [*range(1, 3 if host.server else 5)]
    assert (attempts(app, "left"), attempts(app, "unwanted")) == ([1], [1])
    for name in ("lost", "right"):
        numbers = attempts(app, name)
        assert numbers == [*range(1, len(numbers) + 1)]
        assert numbers[1:], "it was run again"
    assert all(len(keys(app, name)) == 1 for name in ("left", *names))


# On a journal ------------------------------------------------------------------------------------


def test_every_attempt_is_journaled(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:call", HOST, "app:flaky", RETRY, "f", options=ID)
        assert node.result(pid) == 3
        history = node.history(pid)
    told = [record[:3] for record in history if record[0].startswith("activity_")]
    assert told == [
        ["activity_scheduled", 1, "app:flaky"],
        ["activity_attempt", 1, 2],
        ["activity_attempt", 1, 3],
        ["activity_completed", 1, 3],
    ]


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("point", ["host.attempt.before", "host.attempt.after"])
def test_an_attempt_is_on_disk_before_it_runs(app: Path, point: str, nth: int) -> None:
    with NodeProcess(app, f"{point}:{nth}") as node:
        node.ask("spawn", entry="app:call", host=HOST, args=["app:flaky", RETRY, "f"], options=ID)
        node.wait_dead()
        ran = attempts(app, "f")
        node.crash()
        assert node.result(PID) in (3, 4)
        journaled = [r[2] for r in node.history(PID) if r[0] == "activity_attempt"]
    assert ran == list(range(1, len(ran) + 1))
    numbers = attempts(app, "f")
    assert len(set(numbers)) == len(numbers), "no two attempts have the same number"
    assert {n for n in numbers if n != 1} <= set(journaled)
    assert len(keys(app, "f")) == 1


def test_a_function_that_takes_the_node_down_is_failed_and_shown(app: Path) -> None:
    with NodeProcess(app) as node:
        bystander = node.spawn("app:wait", HOST)
        node.ask("spawn", entry="app:call", host=HOST, args=["app:poison", None, "p"], options=ID)
        node.wait_dead()
        for _ in range(3):
            with suppress(NodeDied):  # the poison may work before the node has said it is ready
                node.crash()
                node.wait_dead()
            check_journal(app)
        node.crash()
        with pytest.raises(PerdureError, match="app:poison took the node down 3 times") as error:
            node.result(PID)
        assert error.value.kind == Kind.INTERNAL
        assert error.value.retryable is False
        assert node.result(node.spawn("app:two", HOST)) == ["left", "right"]
        node.send(bystander, "go")
        assert node.result(bystander) == "heard"
        assert node.row("run")["status"] == "failed"
        assert "activity_failed" in node.kinds(PID)
    assert attempts(app, "p") == [1, 2, 3, 4], "once among others, three times alone"


def test_a_long_activity_is_no_poison(app: Path) -> None:
    """It was running when the node was killed, four times, but long after the node had booted."""
    (app / "hang-s").touch()
    with NodeProcess(app) as node:
        pid = node.spawn("app:call", HOST, "app:slow", None, "s")
        for crash in range(1, 5):
            until(partial(ran, app, "s", crash))
            node.do("advance", seconds=3)
            # What waited for the activity to be watched goes on: the watching is over.
            assert node.result(node.spawn("app:call", HOST, "app:effect", None, f"c{crash}"))
            node.crash()
        (app / "hang-s").unlink()
        assert node.result(pid) == "late"


def test_a_node_that_stops_in_order_was_not_taken_down(app: Path) -> None:
    """Five times, each time before the activity had been watched for long enough."""
    (app / "hang-s").touch()
    with NodeProcess(app) as node:
        pid = node.spawn("app:call", HOST, "app:slow", None, "s")
        until(partial(ran, app, "s", 1))
        node.stop()
    for boot in range(2, 7):
        with NodeProcess(app) as node:
            until(partial(ran, app, "s", boot))
            if boot == 6:
                assert node.do("alone") == 1
                (app / "hang-s").unlink()
                assert node.result(pid) == "late"
            node.stop()
    check_journal(app)


def test_an_activity_that_failed_alone_took_nothing_down(app: Path) -> None:
    """While it waits for its next attempt the node may crash for other reasons."""
    (app / "hang-f").touch()
    with NodeProcess(app) as node:
        options = {"activity.retry_policy": {"initial_interval": "30s"}}
        pid = node.spawn("app:call", HOST, "app:flaky", options, "f")
        until(partial(ran, app, "f", 1))
    (app / "hang-f").unlink()
    clock = NodeClock()
    with Node.from_path(app, clock=clock) as again:
        (host,) = again.workflow_hosts()
        until(partial(ran, app, "f", 2))
        until(lambda: [each.row[:2] for each in host.journal.activities()] == [[2, 0]])
        clock.advance(again.timers, 60_000_000_000)
        assert again.result(pid, 30) == 3
    check_journal(app)


def test_what_was_cancelled_before_the_crash_is_not_run_after_it(app: Path) -> None:
    (app / "hang-unwanted").touch()
    with NodeProcess(app) as node:
        pid = node.spawn("app:changed_its_mind", HOST)
        until(lambda: attempts(app, "unwanted") == [1])
        node.do("arm", fault="journal.commit.after:1")
        node.ask("send", dest=pid, topic="x", payload=[])
        node.wait_dead()
        node.crash()
        node.until_recorded(pid, "activity_cancelled")
        node.send(pid, "y")
        assert node.result(pid) == "done"
    assert attempts(app, "unwanted") == [1]
    assert effects_by_key(app) == [("unwanted", [])]
