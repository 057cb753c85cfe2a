"""Promise 6: timers fire once, in order, not before the node's wall clock reaches their time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash_lab import NodeProcess, check_journal, effects_by_key, survive, until
from tests.durable_lab import HOST, durable_app, journal_of

HOUR = 3600
WORKFLOWS = {
    "sleep": """
        local duration, name = ...
        time.sleep(duration)
        if name then funcs.call("app:effect", name) end
        return name or "rested"
    """,
    "wait": """
        local timer = time.timer((...))
        local got = channel.select{timer:channel():case_receive(), process.inbox():case_receive()}
        if got.channel == timer:channel() then return "timeout" end
        timer:stop()
        process.inbox():receive()
        return "heard"
    """,
    "ticks": """
        local ticker, first = time.ticker("1h"), time.now()
        local hours = {}
        for n = 1, 3 do
          ticker:channel():receive()
          hours[n] = time.now():sub(first):hours() // 1
        end
        ticker:stop()
        return hours
    """,
    "report": """
        local duration, name, collector = ...
        time.sleep(duration)
        process.send(collector, "fired", name)
    """,
    "collect": """
        local inbox, names = process.inbox(), {}
        for n = 1, (...) do names[n] = inbox:receive():payload():data() end
        return names
    """,
}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS)


def fired(node: NodeProcess, pid: str) -> bool:
    return "timer_fired" in node.kinds(pid)


def test_it_fires_at_its_time_and_not_before(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:sleep", HOST, "24h")
        other = node.spawn("app:sleep", HOST, "23h")
        node.do("advance", seconds=24 * HOUR - 5)
        assert node.result(other) == "rested"
        assert not fired(node, pid)
        node.do("advance", seconds=6)
        assert node.result(pid) == "rested"


def test_what_fell_due_while_the_node_was_down_fires_at_boot_in_due_order(app: Path) -> None:
    sleeps = {"fourth": "4h", "first": "1h", "third": "3h", "second": "2h", "not yet": "24h"}
    with NodeProcess(app) as node:
        collector = node.spawn("app:collect", HOST, 4)
        pids = {n: node.spawn("app:report", HOST, sleeps[n], n, collector) for n in sleeps}
        node.crash(wall=5 * HOUR)
        assert node.result(collector) == ["first", "second", "third", "fourth"]
        assert not fired(node, pids["not yet"])


@pytest.mark.parametrize("wall", [HOUR - 10, HOUR + 1])
def test_a_crash_changes_no_due_time(app: Path, wall: int) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:sleep", HOST, "1h")
        node.crash(wall=HOUR / 2)
        node.crash(wall=wall)
        if wall > HOUR:
            assert node.result(pid) == "rested"
        else:
            node.spawn("app:sleep", HOST, "0s")
            assert not fired(node, pid)


@pytest.mark.parametrize(
    "fault",
    ["host.timer.before:1", "journal.op.del_timer.before:1", "journal.commit.after:3"],
)
def test_it_fires_once_through_a_crash_as_it_fires(app: Path, fault: str) -> None:
    def script(node: NodeProcess) -> object:
        pid = node.spawn("app:sleep", HOST, "20ms", "woken", key="k")
        result = node.result(pid)
        assert node.kinds(pid).count("timer_fired") == 1
        return result

    result, deaths = survive(app, script, fault, fault)
    assert deaths
    assert result == "woken"
    assert effects_by_key(app) == [("woken", [])]


def test_a_clock_set_back_delays_it(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:sleep", HOST, "1h")
        node.do("jump", seconds=-HOUR)
        node.do("advance", seconds=HOUR + 60)
        assert node.result(node.spawn("app:sleep", HOST, "0s")) == "rested"
        assert not fired(node, pid), "an hour has passed, but the clock on the wall shows less"
        node.do("advance", seconds=HOUR)
        assert node.result(pid) == "rested"
    assert "wall clock jumped by -3600" in log(app)


def test_a_clock_set_forward_brings_it_on(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:sleep", HOST, "1h")
        node.do("jump", seconds=2 * HOUR)
        assert node.result(pid) == "rested"
    assert "wall clock jumped by +7200" in log(app)


def log(app: Path) -> str:
    return (app / "node.log").read_text(encoding="utf-8")


def test_a_timer_that_is_stopped_leaves_nothing(app: Path) -> None:
    with NodeProcess(app) as node:
        stopped = node.spawn("app:wait", HOST, "1h", options={"workflow.id": "stopped"})
        node.send(stopped, "x")
        node.until_recorded(stopped, "timer_cancelled")
        node.crash(wall=2 * HOUR)
        timed_out = node.spawn("app:wait", HOST, "1h")
        node.do("advance", seconds=HOUR + 1)
        assert node.result(timed_out) == "timeout"
        node.kill()
    check_journal(app)
    with journal_of(app) as journal:
        assert journal.timers_due() == []
    with NodeProcess(app, wall=3 * HOUR) as node:
        node.send(stopped, "y")
        assert node.result(stopped) == "heard"


def test_a_ticker_goes_on_through_crashes(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:ticks", HOST)
        for boot in (1, 2, 3):
            node.crash(wall=boot * HOUR + 60)
            until(lambda: node.kinds(pid).count("timer_fired") >= boot)  # noqa: B023
        assert node.result(pid) == [1, 2, 3]
