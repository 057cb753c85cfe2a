"""process.service and its host, end to end: restarts by policy, orderly stops, names and limits."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Kind, PerdureError
from supervision.messages import ServiceStatus
from supervision.node import Node
from supervision.state import State
from tests.process_lab import PATIENCE, NodeClock, answer, eventually, failure, process, running
from tests.services import in_background

#: Does what its messages say.
WORKER = process("""
    process.registry.register("worker")
    local events, inbox = process.events(), process.inbox()
    while true do
      local got = channel.select{events:case_receive(), inbox:case_receive()}
      if got.channel == events then return "cancelled: " .. got.value.reason end
      local topic = got.value:topic()
      if topic == "raise" then error("it broke") end
      if topic == "never" then
        error(errors.new({message = "hopeless", kind = "Invalid", retryable = false}))
      end
      if topic == "return" then return "done" end
      process.send(got.value:from(), "alive", process.pid())
    end
""")


def service(**lifecycle: Any) -> dict[str, Any]:
    return {
        "kind": "process.service",
        "process": "worker",
        "host": "one",
        "lifecycle": {"auto_start": True, **lifecycle},
    }


def status(node: Node, service_id: str = "app:service") -> ServiceStatus:
    return next(each for each in node.services() if each.id == service_id)


def until(node: Node, state: State) -> ServiceStatus:
    eventually(lambda: status(node).state is state)
    return status(node)


def alive(node: Node) -> str:
    """PID of the service's process, as it says itself."""
    return str(answer(node, "worker", "are you there?"))


def test_a_crash_is_answered_by_the_policy(tmp_path: Path) -> None:
    clock = NodeClock()
    restart = {"initial_delay": "1s", "backoff_factor": 2, "jitter": 0, "max_delay": "3s"}
    entries = {"worker": WORKER, "service": service(restart=restart)}
    with running(tmp_path, entries, clock=clock) as node:
        pids = [alive(node)]
        for attempt, delay in enumerate((1, 2, 3, 3), 1):
            node.send("worker", "raise")
            failed = until(node, State.FAILED)
            assert failed.error is not None
            assert "it broke" in failed.error.message
            assert failed.next_attempt == delay * 10**9
            clock.advance(node.timers, delay * 10**9 - 1)
            assert status(node).state is State.FAILED
            clock.advance(node.timers, 1)
            assert until(node, State.RUNNING).restarts == attempt
            pids.append(alive(node))
        assert len(set(pids)) == len(pids)
        clock.advance(node.timers, 6 * 10**9)
        node.send("worker", "raise")
        assert until(node, State.FAILED).next_attempt == 10**9


BROKEN = """
from hosts.api import Process

class Broken(Process):
    def __init__(self, where="start"):
        super().__init__()
        self.where = where
        if where == "init": raise ValueError("it broke")

    def on_start(self):
        if self.where == "start": raise ValueError("it broke")
        if self.where == "leaves": self.exit("done")

    def on_message(self, topic, payload, sender): ...
"""
PYTHON = {"kind": "process.python", "target": "broken:Broken"}
SAYS = 'error("it broke")'


@pytest.mark.parametrize(
    ("worker", "given"),
    [
        (process(SAYS), []),
        (process("coroutine.spawn(error, 'it broke') process.inbox():receive()"), []),
        (process("return nil, 'it broke'"), []),
        (PYTHON, ["init"]),
        (PYTHON, ["start"]),
    ],
)
def test_a_first_step_that_fails_is_a_start_that_fails(
    tmp_path: Path, worker: dict[str, Any], given: list[str]
) -> None:
    clock = NodeClock()
    flaky = {**service(restart={"max_attempts": 1}), "input": given}
    entries = {"worker": worker, "service": flaky}
    with running(tmp_path, entries, {"broken": BROKEN}, clock=clock) as node:
        with node.events.subscribe("service") as events:
            assert status(node).state is State.FAILED
            clock.advance(node.timers, 2 * 10**9)
            assert "gave up" in until(node, State.EXITED).exit_reason
        told = [event.kind for event in events if event.path == "app:service"]
        assert told == ["starting", "exited"]
        error = status(node).error
        assert error is not None
        assert "it broke" in error.message


@pytest.mark.parametrize(
    ("worker", "given"),
    [
        (process("return 1"), []),
        (process("process.upgrade('app:third')"), []),
        (PYTHON, ["leaves"]),
    ],
)
def test_one_that_is_done_in_its_first_step_has_started(
    tmp_path: Path, worker: dict[str, Any], given: list[str]
) -> None:
    after = {**service(requires=["service"]), "process": "worker2"}
    entries = {
        "worker": worker, "service": {**service(), "input": given},
        "worker2": WORKER, "after": after, "third": process("return 1"),
    }  # fmt: skip
    with running(tmp_path, entries, {"broken": BROKEN}) as node:
        done = until(node, State.EXITED)
        assert (done.error, done.exit_reason) == (None, "returned")
        assert alive(node)


def test_a_start_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    slow = """
        import threading
        from hosts.api import Process

        GATE = threading.Event()

        class Slow(Process):
            def on_start(self): GATE.wait(30)
            def on_message(self, topic, payload, sender): ...
    """
    clock = NodeClock()
    entries = {
        "worker": {"kind": "process.python", "target": "slow:Slow"},
        "service": service(auto_start=False, start_timeout="5s", stop_timeout="1s"),
    }
    with running(tmp_path, entries, {"slow": slow}, clock=clock) as node:
        starting = in_background(node.supervisor.start_child, "app:service")
        eventually(lambda: status(node).state is State.STARTING and len(node.processes()) == 1)
        clock.advance(node.timers, 5 * 10**9)
        until(node, State.STOPPING)
        eventually(lambda: node.timers.next_due() is not None)
        clock.advance(node.timers, 900 * 10**6)
        failed = starting.result(PATIENCE)
        assert failed.error is not None
        assert failed.error.message == "app:service did not start within 5s (start_timeout)"
        assert node.processes() == []
        import slow as module  # type: ignore[import-not-found]

        module.GATE.set()


def test_attempts_are_used_up(tmp_path: Path) -> None:
    clock = NodeClock()
    entries = {"worker": WORKER, "service": service(restart={"max_attempts": 1})}
    with running(tmp_path, entries, clock=clock) as node:
        node.send("worker", "raise")
        until(node, State.FAILED)
        clock.advance(node.timers, 2 * 10**9)
        until(node, State.RUNNING)
        node.send("worker", "raise")
        assert "gave up" in until(node, State.EXITED).exit_reason
        node.supervisor.start_child("app:service")
        assert alive(node)


@pytest.mark.parametrize(("topic", "why"), [("return", "returned"), ("never", "not retryable")])
def test_what_is_no_failure_to_retry(tmp_path: Path, topic: str, why: str) -> None:
    with running(tmp_path, {"worker": WORKER, "service": service()}) as node:
        node.send("worker", topic)
        assert why in until(node, State.EXITED).exit_reason


def test_stop_and_start_by_hand(tmp_path: Path) -> None:
    with running(tmp_path, {"worker": WORKER, "service": service()}) as node:
        first = alive(node)
        assert node.supervisor.stop_child("app:service").state is State.STOPPED
        assert node.result(first, PATIENCE) == "cancelled: the service stops"
        assert node.supervisor.start_child("app:service").state is State.RUNNING
        assert alive(node) != first


def test_a_service_that_does_not_end_is_terminated(tmp_path: Path) -> None:
    stubborn = process("""
        process.events():receive()
        process.registry.register("heard")
        process.inbox():receive()
    """)
    clock = NodeClock()
    entries = {"worker": stubborn, "service": service(stop_timeout="10s")}
    with running(tmp_path, entries, clock=clock) as node:
        pid = node.processes()[0]["pid"]
        stopped = in_background(node.supervisor.stop_child, "app:service")
        eventually(lambda: node.router.names.lookup("heard") == pid)
        clock.advance(node.timers, 8 * 10**9)
        assert stopped.result(PATIENCE).state is State.STOPPED
        assert failure(node, pid).message == "process terminated"


def test_the_node_stops_services_before_hosts(tmp_path: Path) -> None:
    ended = process("""
        process.events():receive()
        local ok = process.send("log", "stopping")
        return ok
    """)
    log = process("""
        process.registry.register("log")
        local msg = process.inbox():receive()
        process.events():receive()
        return msg:topic()
    """)
    entries = {
        "worker": ended,
        "log": log,
        "service": service(requires=["logs"]),
        "logs": {**service(), "process": "log", "host": "other"},
    }
    results: list[Any] = []
    with running(tmp_path, entries) as node:
        pids = [row["pid"] for row in node.processes()]
        waits = [in_background(node.result, pid) for pid in pids]
        eventually(lambda: len(node.clients._waiting) >= 2)
    for wait in waits:
        results.append(wait.result(PATIENCE))
    assert sorted(map(str, results)) == ["True", "stopping"]


def test_a_host_that_is_restarted_brings_its_services_back(tmp_path: Path) -> None:
    with running(tmp_path, {"worker": WORKER, "service": service()}) as node:
        first = alive(node)
        node.supervisor.restart_child("app:one")
        until(node, State.RUNNING)
        assert alive(node) != first
        with pytest.raises(PerdureError, match="process not found"):
            node.send(first, "x")


def test_a_host_that_is_stopped_says_so(tmp_path: Path) -> None:
    with running(tmp_path, {"worker": WORKER}) as node:
        pid = node.spawn("app:worker", "app:one")
        node.supervisor.stop_child("app:one")
        for call in (
            lambda: node.send(pid, "x"),
            lambda: node.spawn("app:worker", "app:one"),
            lambda: node.result(pid, PATIENCE),
        ):
            with pytest.raises(PerdureError, match="app:one is not running") as caught:
                call()
            assert caught.value.kind == Kind.UNAVAILABLE
        assert node.router.names.lookup("worker") is None


def test_failures_are_logged_once_with_the_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "perdure.lua"):
        with running(tmp_path, {"worker": WORKER}) as node:
            pid = node.spawn("app:worker", "app:one")
            node.send(pid, "raise")
            failure(node, pid)
            other = node.spawn("app:worker", "app:one")
            node.terminate(other)
            failure(node, other)
        lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert pid in lines[0]
    assert "it broke" in lines[0]
    assert "app:worker:8" in lines[0]
