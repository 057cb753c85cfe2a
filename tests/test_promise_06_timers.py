"""Promise 6: timers fire once, in order, not before the wall clock reaches their time: that of the
node, or of the server. What is killed at a call of the journal, and clocks that are moved, are for
the journal only: a server's goes on by itself, so that an hour here is a part of a second there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.both_hosts import EMBEDDED, TEMPORAL, Host, only_on
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
        local every = time.parse_duration((...))
        local ticker, first = time.ticker(every), time.now()
        local hours = {}
        for n = 1, 3 do
          ticker:channel():receive()
          hours[n] = time.now():sub(first):seconds() // every:seconds()
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
    "alarms": """
        local sleeps, names = ..., channel.new(9)
        for name, duration in pairs(sleeps) do
          coroutine.spawn(function() time.sleep(duration) names:send(name) end)
        end
        local fired = {}
        for n = 1, 4 do fired[n] = names:receive() end
        return fired
    """,
}


@pytest.fixture
def app(tmp_path: Path, host: Host) -> Iterator[Path]:
    folder = durable_app(tmp_path / "app", WORKFLOWS, host=host)
    yield folder
    host.check(folder)


def hours(host: Host, count: int) -> str:
    """So many hours of a journal's clock, which a test moves; a server's takes less for it."""
    return f"{count}h" if host.server is None else f"{count * 200}ms"


def fired(node: NodeProcess, pid: str) -> bool:
    return "timer_fired" in node.kinds(pid)


def test_it_fires_at_its_time_and_not_before(app: Path, host: Host) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:sleep", HOST, hours(host, 3))
        other = node.spawn("app:sleep", HOST, hours(host, 2))
        node.advance(3 * HOUR - 5)
        assert node.result(other) == "rested"
        if host.server is None:
            assert not fired(node, pid)
        node.advance(6)
        assert node.result(pid) == "rested"
        at = {each["type"]: datetime.fromisoformat(each["at"]) for each in node.told(pid)}
        took = at["timer_fired"] - at["timer_started"]
        assert took.total_seconds() >= (3 * HOUR if host.server is None else 0.6)


def test_what_fell_due_while_the_node_was_down_fires_at_boot_in_due_order(
    app: Path, host: Host
) -> None:
    """Those of one run; a server lets its runs go on in any order."""
    due = ["first", "second", "third", "fourth"]
    sleeps = {due[n]: hours(host, n + 1) for n in (3, 0, 2, 1)} | {"not yet": "24h"}
    with NodeProcess(app) as node:
        collector = node.spawn("app:collect", HOST, 4)
        pids = {n: node.spawn("app:report", HOST, sleeps[n], n, collector) for n in sleeps}
        alarms = node.spawn("app:alarms", HOST, sleeps)
        node.until_recorded(alarms, "timer_started", 5)
        node.crash(wall=5 * HOUR)
        assert node.result(alarms) == due
        collected = node.result(collector)
        assert (collected if host.server is None else sorted(collected, key=due.index)) == due
        for name, pid in pids.items():
            node.until_recorded(pid, "timer_fired" if name in due else "timer_started")
            kinds = node.kinds(pid)
            assert (kinds.count("timer_started"), kinds.count("timer_fired")) == (1, name in due)


@only_on(EMBEDDED, "the time of a server cannot be moved")
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


@only_on(EMBEDDED, "it is killed at calls of the journal")
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


@only_on(EMBEDDED, "a server's timers go by its own clock")
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


@only_on(EMBEDDED, "a server's timers go by its own clock")
def test_a_clock_set_forward_brings_it_on(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:sleep", HOST, "1h")
        node.do("jump", seconds=2 * HOUR)
        assert node.result(pid) == "rested"
    assert "wall clock jumped by +7200" in log(app)


def log(app: Path) -> str:
    return (app / "node.log").read_text(encoding="utf-8")


@only_on(TEMPORAL, "a journal's timers go by the node's clock")
def test_the_clock_of_a_node_is_not_that_of_its_runs(app: Path) -> None:
    with NodeProcess(app, wall=-HOUR) as node:
        early, late = (node.spawn("app:sleep", HOST, each) for each in ("200ms", "1h"))
        assert node.result(early) == "rested"
        node.do("jump", seconds=3 * HOUR)
        assert node.result(node.spawn("app:sleep", HOST, "0s")) == "rested"
        assert not fired(node, late)


def test_a_timer_that_is_stopped_leaves_nothing(app: Path, host: Host) -> None:
    with NodeProcess(app) as node:
        stopped = node.spawn("app:wait", HOST, "1h", options={"workflow.id": "stopped"})
        node.until_recorded(stopped, "timer_started")
        node.send(stopped, "x")
        node.until_recorded(stopped, "timer_cancelled")
        node.crash(wall=2 * HOUR)
        timed_out = node.spawn("app:wait", HOST, hours(host, 1))
        node.advance(HOUR + 1)
        assert node.result(timed_out) == "timeout"
        assert node.shown("stopped")["pending"] == []
        node.kill()
    check_journal(app)
    if host.server is None:
        with journal_of(app) as journal:
            assert journal.timers_due() == []
    with NodeProcess(app, wall=3 * HOUR) as node:
        node.send(stopped, "y")
        assert node.result(stopped) == "heard"


def test_a_ticker_goes_on_through_crashes(app: Path, host: Host) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:ticks", HOST, hours(host, 1))
        node.until_recorded(pid, "timer_started")
        for boot in (1, 2, 3) if host.server is None else (1,):
            node.crash(wall=boot * HOUR + 60)
            until(lambda: node.kinds(pid).count("timer_fired") >= boot)  # noqa: B023
        at = node.result(pid)
        if host.server is None:
            assert at == [1, 2, 3]
        else:
            assert len(at) == 3
            assert 1 <= at[0] <= at[1] <= at[2]
