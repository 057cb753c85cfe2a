"""Wall clocks that jump or stand still, and owners that stop and wake."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.crash_lab import NodeProcess, NodeRefused, check_journal, until
from tests.durable_lab import HOST, durable_app

HOUR = 3600
TEN_YEARS = 10 * 365 * 24 * HOUR
WORKFLOWS = {
    "sleep": 'time.sleep((...)) return "woken"',
    "work": 'return funcs.call("app:effect", "worked")',
    "measure": """
        local times = {}
        for n = 1, 3 do
          times[n] = time.now():unix_nano()
          process.inbox():receive()
        end
        return times[1] <= times[2] and times[2] <= times[3]
    """,
}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS)


@pytest.mark.parametrize("how", ["at work", "while it was down"])
@pytest.mark.parametrize("jump", [-HOUR, TEN_YEARS], ids=["an hour back", "ten years ahead"])
def test_a_clock_that_jumps_loses_nothing(app: Path, jump: int, how: str) -> None:
    with NodeProcess(app) as node:
        sleeper = node.spawn("app:sleep", HOST, "2h")
        clock = node.spawn("app:measure", HOST)
        if how == "at work":
            node.do("jump", seconds=jump)
        else:
            node.crash(wall=jump)
        node.send(clock, "go")
        assert node.result(node.spawn("app:work", HOST)) == "worked"
        if jump < 0:
            assert "timer_fired" not in node.kinds(sleeper), "the wall clock decides"
            node.do("jump", seconds=-jump)
            node.do("jump", seconds=2 * HOUR)
        assert node.result(sleeper) == "woken"
        node.send(clock, "go")
        node.send(clock, "go")
        assert node.result(clock) is True, "time in a workflow never runs back"
        node.stop()
    check_journal(app)


def test_a_clock_that_stands_still_holds_up_timers_only(app: Path) -> None:
    with NodeProcess(app) as node:
        node.do("freeze")
        sleeper = node.spawn("app:sleep", HOST, "20ms")
        assert node.result(node.spawn("app:work", HOST)) == "worked"
        node.do("advance", seconds=0)
        assert node.result(node.spawn("app:work", HOST)) == "worked"
        assert "timer_fired" not in node.kinds(sleeper)
        node.do("jump", seconds=1)
        assert node.result(sleeper) == "woken"
        node.stop()
    check_journal(app)


def test_a_stopped_owner_keeps_the_journal_and_goes_on_when_it_wakes(app: Path) -> None:
    with NodeProcess(app) as node:
        sleeper = node.spawn("app:sleep", HOST, "20ms")
        os.kill(node.pid, signal.SIGSTOP)
        until(lambda: state_of(node.pid) == "T")
        with pytest.raises(NodeRefused, match=str(node.pid)):
            NodeProcess(app)
        asked = node.ask("spawn", entry="app:work", host=HOST, args=[])
        os.kill(node.pid, signal.SIGCONT)
        assert node.result(asked.result()) == "worked"
        assert node.result(sleeper) == "woken"
        node.stop()
    check_journal(app)


def test_a_stopped_owner_that_was_killed_is_in_nobodys_way(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:work", HOST)
        os.kill(node.pid, signal.SIGSTOP)
        until(lambda: state_of(node.pid) == "T")
        node.kill()
        with NodeProcess(app) as heir:
            assert heir.result(pid) == "worked"


def state_of(process: int) -> str:
    """R, S, T (stopped) …, as the kernel has it."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
