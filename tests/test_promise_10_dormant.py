"""Promise 10: dormant is cheap: live runs are a cache, and what left it is rebuilt by replay.

That a boot reads no history is for the journal only.
"""

from __future__ import annotations

from pathlib import Path

from supervision import Node
from tests.both_hosts import EMBEDDED, Host, only_on
from tests.crash_lab import (
    NodeProcess,
    check_journal,
    effects_by_key,
    overrides_of,
    put_on_server,
    until,
)
from tests.durable_lab import HOST, durable_app

#: Each holds 20 KB while it waits.
WORKFLOWS = {
    "waits": """
        local n = ...
        local ballast = {}
        for i = 1, 500 do ballast[i] = {i + n} end
        local inbox, seen = process.inbox(), {}
        for i = 1, 2 do seen[i] = inbox:receive().n + ballast[500][1] end
        return seen
    """,
    "calls": """
        local ballast = {}
        for i = 1, 500 do ballast[i] = {i} end
        local value = funcs.call("app:effect", "call", ...)
        return {value, ballast[500][1]}
    """,
    "sleeps": """
        local ballast = {}
        for i = 1, 500 do ballast[i] = {i} end
        time.sleep((...))
        return ballast[500][1]
    """,
}


def make_app(folder: Path, host: Host) -> Path:
    """An application whose host has but a few of these runs in memory."""
    app = durable_app(folder, WORKFLOWS, host=host)
    if host.server is None:
        config = app / "app.yaml"
        config.write_text(config.read_text().replace("workers: 1", "workers: 1\n  cache: 1MB", 1))
    else:
        few = f"{HOST}:worker_options.max_cached_workflows=5"
        put_on_server(app, [*overrides_of(app), few])
    return app


def live(node: Node) -> float:
    """How many runs are in memory."""
    (figure,) = (each.value for each in node.metrics() if each.name == "perdure_runs_live")
    return figure


def send_to_all(node: Node, pids: list[str], n: int) -> None:
    """Send without waiting in between, then wait for all acknowledgements."""
    acknowledged: list[bool] = []
    for pid in pids:
        reply = node.clients.expect(lambda ok, value: acknowledged.append(ok))
        node.router.send(pid, "n", "", b"\x91\x81\xa1n" + bytes([n]), reply)
    until(lambda: len(acknowledged) == len(pids))
    assert all(acknowledged)


def test_runs_that_wait_leave_the_memory_and_come_back(tmp_path: Path, host: Host) -> None:
    app = make_app(tmp_path / "app", host)
    runs, few = (400, 100) if host.server is None else (15, 10)
    with Node.from_path(app, overrides_of(app)) as node:
        pids = [node.spawn("app:waits", HOST, n) for n in range(runs)]
        until(lambda: live(node) < few)
        send_to_all(node, pids, 1)
        until(lambda: live(node) < few)
        send_to_all(node, pids, 2)
        for n, pid in enumerate(pids):
            assert node.result(pid, 30) == [501 + n, 502 + n]
        until(lambda: live(node) == 0)
    host.check(app)


def test_a_budget_that_is_not_reached_evicts_nothing(tmp_path: Path, host: Host) -> None:
    app = durable_app(tmp_path / "app", WORKFLOWS)
    with host.node(app) as node:
        for n in range(20):
            node.spawn("app:waits", HOST, n)
        until(lambda: live(node) == 20)


def test_activities_and_timers_go_on_without_their_runs(tmp_path: Path, host: Host) -> None:
    app = make_app(tmp_path / "app", host)
    (app / "hang-call").touch()
    each, others, few = (20, 150, 100) if host.server is None else (3, 10, 10)
    with NodeProcess(app) as node:
        calls = [node.spawn("app:calls", HOST, n) for n in range(each)]
        span = "50h" if host.server is None else "1s"
        sleeps = [node.spawn("app:sleeps", HOST, span) for _ in range(each)]
        for n in range(others):
            node.spawn("app:waits", HOST, n)
        until(lambda: node.do("live") < few)
        (app / "hang-call").unlink()
        assert [node.result(pid) for pid in calls] == [["call", 500]] * each
        node.advance(50 * 3600 + 1)
        assert [node.result(pid) for pid in sleeps] == [500] * each
        node.kill()
    host.check(app)
    assert sorted(effects_by_key(app)) == [("call", [n]) for n in range(each)]


@only_on(EMBEDDED, "a server has nothing to boot from")
def test_boot_reads_no_history_of_a_run_that_waits(tmp_path: Path, host: Host) -> None:
    app = durable_app(tmp_path / "app", WORKFLOWS, host=host)
    with NodeProcess(app) as node:
        pids = [node.spawn("app:waits", HOST, n) for n in range(20)]
        pids += [node.spawn("app:sleeps", HOST, "50h") for _ in range(20)]
        node.crash()
        assert node.do("live") == 0
        node.send(pids[7], "n", {"n": 1})
        assert node.do("live") == 1
        node.kill()
    check_journal(app)
