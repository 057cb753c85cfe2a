"""Promise 10: dormant is cheap: live runs are a cache, and what left it is rebuilt by replay."""

from __future__ import annotations

from pathlib import Path

from supervision import Node
from tests.crash_lab import NodeProcess, check_journal, effects_by_key, until
from tests.durable_lab import HOST, durable_app

RUNS = 400
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
        time.sleep("50h")
        return ballast[500][1]
    """,
}
SMALL = ["app:orders:cache=1MB"]


def send_to_all(node: Node, pids: list[str], n: int) -> None:
    """Send without waiting in between, then wait for all acknowledgements."""
    acknowledged: list[bool] = []
    for pid in pids:
        reply = node.clients.expect(lambda ok, value: acknowledged.append(ok))
        node.router.send(pid, "n", "", b"\x91\x81\xa1n" + bytes([n]), reply)
    until(lambda: len(acknowledged) == len(pids))
    assert all(acknowledged)


def test_runs_that_wait_leave_the_memory_and_come_back(tmp_path: Path) -> None:
    app = durable_app(tmp_path / "app", WORKFLOWS)
    with Node.from_path(app, SMALL) as node:
        host = node.workflow_hosts()[0]
        pids = [node.spawn("app:waits", HOST, n) for n in range(RUNS)]
        until(lambda: host.live < 100)
        send_to_all(node, pids, 1)
        until(lambda: host.live < 100)
        send_to_all(node, pids, 2)
        for n, pid in enumerate(pids):
            assert node.result(pid, 30) == [501 + n, 502 + n]
        assert host.live == 0
    check_journal(app)


def test_a_budget_that_is_not_reached_evicts_nothing(tmp_path: Path) -> None:
    app = durable_app(tmp_path / "app", WORKFLOWS)
    with Node.from_path(app) as node:
        for n in range(50):
            node.spawn("app:waits", HOST, n)
        assert node.workflow_hosts()[0].live == 50


def test_activities_and_timers_go_on_without_their_runs(tmp_path: Path) -> None:
    app = durable_app(tmp_path / "app", WORKFLOWS)
    (app / "hang-call").touch()
    config = app / "app.yaml"
    config.write_text(config.read_text().replace("workers: 1\n", "workers: 1\n  cache: 1MB\n", 1))
    with NodeProcess(app) as node:
        calls = [node.spawn("app:calls", HOST, n) for n in range(20)]
        sleeps = [node.spawn("app:sleeps", HOST) for _ in range(20)]
        for n in range(150):
            node.spawn("app:waits", HOST, n)
        until(lambda: node.do("live") < 100)
        (app / "hang-call").unlink()
        assert [node.result(pid) for pid in calls] == [["call", 500]] * 20
        node.do("advance", seconds=50 * 3600 + 1)
        assert [node.result(pid) for pid in sleeps] == [500] * 20
        node.kill()
    check_journal(app)
    assert sorted(effects_by_key(app)) == [("call", [n]) for n in range(20)]


def test_boot_reads_no_history_of_a_run_that_waits(tmp_path: Path) -> None:
    app = durable_app(tmp_path / "app", WORKFLOWS)
    with NodeProcess(app) as node:
        pids = [node.spawn("app:waits", HOST, n) for n in range(20)]
        pids += [node.spawn("app:sleeps", HOST) for _ in range(20)]
        node.crash()
        assert node.do("live") == 0
        node.send(pids[7], "n", {"n": 1})
        assert node.do("live") == 1
        node.kill()
    check_journal(app)
