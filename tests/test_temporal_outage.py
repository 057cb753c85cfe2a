"""A Temporal server that is killed and comes back costs nothing but time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from temporalio.service import RetryConfig

from hosts.temporal import connection
from runtime.errors import Kind, PerdureError
from supervision.node import Node
from tests.process_lab import COLLECTS, PATIENCE, eventually, function, process, write_app
from tests.temporal_lab import DevServer, dev_server
from tests.test_temporal_replay import workflow
from tests.test_temporal_sources import first_step, foreign

FUNCTIONS: Final = """
import pathlib, time
here = pathlib.Path(__file__).parent

def hold(n):
    with (here / "held").open("a") as file:
        file.write(f"{n}\\n")
    while not (here / "go").exists():
        time.sleep(0.01)
    return n * 10
"""

ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "worker": {"kind": "temporal.worker", "client": "app:client", "workers": 1},
    "hold": {"kind": "function.python", "target": "functions:hold"},
    "double": function("return ... * 2"),
    "holds": workflow("return funcs.call('app:hold', ...)"),
    "sleeps": workflow("time.sleep(...) return 'awake'"),
    "collects": workflow(COLLECTS),
    "doubles": workflow("return funcs.call('app:double', ...)"),
    "asks": process("""
        local collects = ...
        assert(process.send(collects, "n", "from a process"))
        return process.exec("app:doubles", "app:worker", 21)
    """),
    "watches": process("""
        process.monitor(...)
        return process.events():receive().result.value
    """),
}  # fmt: skip


def states(node: Node) -> dict[str, str]:
    return {each.id: each.state for each in node.services() if each.id in OF_SERVER}


def troubles(node: Node) -> list[str]:
    return [each.error.message for each in node.services() if each.error is not None]


OF_SERVER: Final = ("app:client", "app:worker")


def survives(folder: Path, server: DevServer, seconds: float) -> None:
    """Kill the server under a node with work of every kind, and start it again after so long."""
    client = {"kind": "temporal.client", "address": server.address, "tq_prefix": f"{folder}/",
              "health_check": {"interval": "500ms"}}  # fmt: skip
    app = write_app(folder, {**ENTRIES, "client": client}, {"functions": FUNCTIONS})
    with (
        Node.from_path(app) as node,
        ThreadPoolExecutor() as threads,
        node.events.subscribe("service") as changes,
    ):
        holds = [node.spawn("app:holds", "app:worker", n) for n in range(3)]
        sleeps = node.spawn("app:sleeps", "app:worker", f"{seconds / 2:g}s")
        sleeps_on = node.spawn("app:sleeps", "app:worker", f"{seconds + 1:g}s")
        collects = node.spawn("app:collects", "app:worker", options={"workflow.id": "collects"})
        watches = node.spawn("app:watches", "app:one", sleeps)
        eventually(lambda: (app / "held").exists() and len(held(app)) == 3)
        for pid in (sleeps, sleeps_on, collects):
            foreign(server, partial(first_step, pid.partition("|")[2][:-1]))
        for n in range(3):
            node.send(collects, "n", n)

        os.kill(server.pid, signal.SIGKILL)
        server.stop()
        back = time.monotonic() + seconds
        eventually(lambda: states(node) == dict.fromkeys(OF_SERVER, "failed"))
        gone = f"app:client: the Temporal server at {server.address} cannot be reached: "
        eventually(lambda: all(each.startswith(gone) for each in troubles(node)))
        assert all(each.endswith("; it is asked again every 0.5s") for each in troubles(node))
        assert node.call("app:double", 4, timeout=PATIENCE) == 8
        (app / "go").touch()
        sent = threads.submit(
            until_done, lambda: node.send(collects, "n", "sent meanwhile", key="n-4")
        )
        started = threads.submit(
            until_done, lambda: node.spawn("app:doubles", "app:worker", 4, key="doubles-4")
        )
        asks = node.spawn("app:asks", "app:one", collects)
        with pytest.raises(PerdureError) as refused:
            node.send("collects", "n", "by name")
        assert (refused.value.kind, refused.value.retryable) == (Kind.UNAVAILABLE, True)
        with pytest.raises(PerdureError) as late:
            node.result(collects, 0.1)
        assert late.value.kind == Kind.TIMEOUT
        time.sleep(max(0, back - time.monotonic()))

        server.start()
        # An activity whose sign of life the server missed is run again some time later.
        patience = 2 * PATIENCE
        sent.result(patience)
        assert node.result(started.result(patience), patience) == 8
        assert node.result(asks, patience) == 42
        assert [node.result(pid, patience) for pid in holds] == [0, 10, 20]
        assert node.result(sleeps, patience) == node.result(watches, patience) == "awake"
        assert node.result(sleeps_on, patience) == "awake"
        node.send("collects", "end")
        got = node.result(collects, patience)
        assert got[:3] == [0, 1, 2]
        assert sorted(got[3:]) == ["from a process", "sent meanwhile"]
        assert set(held(app)) == {"0", "1", "2"}
        eventually(lambda: states(node) == dict.fromkeys(OF_SERVER, "running"))
        for of, to in (("running", "failed"), ("failed", "running")):
            for each in OF_SERVER:
                event = changes.get(PATIENCE)
                assert event is not None
                assert (event.path, event.data["from"], event.kind) == (each, of, to)


def until_done(request: Callable[[], Any]) -> Any:
    """Make a request that has a key until it is acknowledged: the node gives up after 30 s."""
    while True:
        try:
            return request()
        except PerdureError as error:
            if error.kind != Kind.TIMEOUT:
                raise


def held(app: Path) -> list[str]:
    """Which attempts have begun."""
    return (app / "held").read_text().split()


def test_a_server_that_is_killed_and_comes_back_costs_nothing_but_time(tmp_path: Path) -> None:
    with dev_server(tmp_path / "state") as server:
        survives(tmp_path / "app", server, 2)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_server_that_is_away_for_more_than_a_minute(tmp_path: Path) -> None:
    with dev_server(tmp_path / "state") as server:
        survives(tmp_path / "app", server, 70)


def test_requests_wait_in_vain_together_and_a_node_stops_without_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retries = RetryConfig(max_elapsed_time_millis=500, max_retries=1_000_000)
    monkeypatch.setattr(connection, "RETRIES", retries)
    with dev_server(tmp_path / "state") as server:
        client = {"kind": "temporal.client", "address": server.address}
        app = write_app(tmp_path / "app", {**ENTRIES, "client": client}, {"functions": FUNCTIONS})
        with ThreadPoolExecutor() as threads:
            with Node.from_path(app) as node:
                pid = node.spawn("app:collects", "app:worker", options={"workflow.id": "waits"})
                server.stop()
                began = time.monotonic()
                sends = [threads.submit(node.send, pid, "n", n) for n in range(8)]
                for send in sends:
                    refused = send.exception(PATIENCE)
                    assert isinstance(refused, PerdureError)
                    assert (refused.kind, refused.retryable) == (Kind.UNAVAILABLE, True)
                assert time.monotonic() - began < PATIENCE
                result = threads.submit(node.result, pid)
                began = time.monotonic()
            assert time.monotonic() - began < PATIENCE
            stopped = result.exception(PATIENCE)
            assert isinstance(stopped, PerdureError)
            assert stopped.kind == Kind.UNAVAILABLE
        server.start()
