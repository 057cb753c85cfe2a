"""Commits that fail under load cost nothing but time: what memory says beyond the disk is dropped,
and no step lands on one that was lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from journal import faults
from journal.unit import Unit
from runtime.errors import Kind, PerdureError
from supervision import Node
from tests.crash_lab import PATIENCE, NodeProcess, check_journal, effects, until
from tests.durable_lab import HOST, durable_app
from tests.process_lab import NodeClock
from tests.services import in_background

WORKFLOWS = {
    "child": "return 7",
    "parent": 'process.inbox():receive() return process.exec("app:child", "app:orders")',
    # Hears the numbers from 1 to n in order, and calls a function for each.
    "count": """
        local n = ...
        local inbox, heard = process.inbox(), {}
        for i = 1, n do
          local number = inbox:receive():payload():data()
          heard[#heard + 1] = number
          assert(funcs.call("app:double", number) == 2 * number)
        end
        return heard
    """,
}
FUNCTIONS = "- {name: double, kind: function.lua, source: 'local n = ... return 2 * n'}\n"
RUNS, NUMBERS = 12, 15


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS, entries=FUNCTIONS)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_step_lands_on_one_that_was_lost(app: Path, workers: int) -> None:
    config = app / "app.yaml"
    config.write_text(config.read_text().replace("workers: 1", f"workers: {workers}", 1))
    done = Event()

    def until_told(node: NodeProcess, pid: str, number: int) -> None:
        while True:
            try:
                node.send(pid, "n", number, key=str(number))
                return
            except PerdureError as error:
                if error.kind != Kind.UNAVAILABLE:
                    raise

    def client(node: NodeProcess, which: int) -> None:
        pid = f"{{{HOST}|run-{which}}}"
        for number in range(1, NUMBERS + 1):
            until_told(node, pid, number)

    def disturb(node: NodeProcess) -> None:
        while not done.wait(0.02):
            node.do("arm", fault="journal.commit.before:2:raise-eio")

    with NodeProcess(app) as node:
        for which in range(RUNS):
            node.spawn("app:count", HOST, NUMBERS, options={"workflow.id": f"run-{which}"})
        disturber = Thread(target=disturb, args=[node])
        disturber.start()
        with ThreadPoolExecutor(RUNS) as pool:
            list(pool.map(lambda which: client(node, which), range(RUNS)))
        done.set()
        disturber.join()
        node.do("arm", fault=None)
        for which in range(RUNS):
            assert node.result(f"{{{HOST}|run-{which}}}") == list(range(1, NUMBERS + 1))
        node.stop()
    check_journal(app)


@pytest.mark.parametrize("nth", [1, 2])
def test_an_attempt_that_could_not_be_written_is_made_later(app: Path, nth: int) -> None:
    retries = """
        local policy = {initial_interval = 300, maximum_attempts = 3}
        local calls = funcs.new():with_options({["activity.retry_policy"] = policy})
        return calls:call("app:fails")
    """
    fails = """
def fails():
    record("fails")
    if ctx.get("activity.attempt") < 3:
        raise ValueError("not yet")
    return "done"
"""
    durable_app(app, {"retries": retries}, fails, ("fails",))
    with NodeProcess(app) as node:
        pid = node.spawn("app:retries", HOST)
        until(lambda: len(effects(app)) == 1)
        node.do("arm", fault=f"journal.commit.before:{nth}:raise-eio")
        assert node.result(pid) == "done"
        assert [effect.attempt for effect in effects(app)] == [1, 2, 3]
        node.stop()
    check_journal(app)


@pytest.mark.parametrize("stopped", ["on its way to the disk", "waiting for the disk"])
def test_a_host_that_stops_tells_the_parent_of_a_start_that_is_not_on_disk(
    app: Path, stopped: str
) -> None:
    """The parent is a run of another host, which goes on."""
    config = app / "app.yaml"
    other = (
        "- {name: other, kind: workflow.host, journal: app:journal, lifecycle: {auto_start: true}}"
    )
    config.write_text(config.read_text() + other + "\n")
    start, disk = Event(), Event()

    def wait() -> None:
        start.wait(PATIENCE)

    def held_up(error: Exception | None) -> None:
        faults.arm("journal.commit.before:1:raise-enospc")
        start.set()
        disk.wait(PATIENCE)

    with Node.from_path(app, clock=NodeClock()) as node:
        parent = node.spawn("app:parent", "app:other")
        (host,) = (each for each in node.workflow_hosts() if each.id == HOST)
        shard = host.a_shard()
        assert shard is not None
        shard.post(wait)
        node.send(parent, "go")
        until(lambda: not shard.actor_inbox.empty())
        sent = shard.flights.sent
        host.journal.submit(Unit(), held_up)
        until(lambda: shard.flights.sent > sent)
        if stopped == "waiting for the disk":
            disk.set()
            until(lambda: shard.flights.settled == shard.flights.sent)
        stopping = in_background(node.supervisor.stop_child, HOST)
        until(shard.actor_stopped.is_set)
        disk.set()
        stopping.result(PATIENCE)
        faults.arm(None)
        with pytest.raises(PerdureError, match="app:orders was stopped") as error:
            node.result(parent, PATIENCE)
        assert error.value.kind == Kind.UNAVAILABLE
        assert not node.workflows('entry = "app:child"')


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_child_whose_start_could_not_be_written_is_started_later(app: Path, nth: int) -> None:
    """Its parent asks but once, and waits for its result."""
    with NodeProcess(app) as node:
        pid = node.spawn("app:parent", HOST, options={"workflow.id": "parent"})
        node.do("arm", fault=f"journal.commit.before:{nth}:raise-eio")
        with suppress(PerdureError):  # at the first it is the message that is refused
            node.send(pid, "go")
        if nth == 1:
            node.send(pid, "go")
        assert node.result(pid) == 7
        node.stop()
    check_journal(app)
