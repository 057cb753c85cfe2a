"""Promises 1 and 2: what was acknowledged is on disk, and a unit is there whole or not at all.

A child process runs the workload and is killed by `kill -9` at a fault point. This process holds
the list of what was acknowledged, and compares what the journal then holds with a model.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from journal import faults
from journal.journal import Journal
from journal.verify import verify
from tests.journal_workload import committed, contents, model

UNITS = 120
#: An upgrade has a test of its own, see test_journal_payloads.py.
POINTS = [
    point
    for point in faults.points()
    if point.startswith("journal.") and not point.startswith("journal.upgrade.")
]
#: Points that are passed once in a run of the workload.
ONCE = {"journal.create.before", "journal.create.after"}


def start_child(path: Path, fault: str = "", units: int = UNITS) -> subprocess.Popen[str]:
    """The workload in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.journal_workload", str(path), str(units)],
        env={**os.environ, faults.VARIABLE: fault},
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )


def run_child(path: Path, fault: str = "", units: int = UNITS) -> tuple[int, list[int]]:
    """Exit code of the child, and which units it acknowledged."""
    with start_child(path, fault, units) as child:
        lines = [line.split() for line in child.communicate(timeout=60)[0].splitlines()]
    return child.returncode, [int(i) for word, i in lines if word == "ack"]


def check(path: Path, acknowledged: list[int]) -> None:
    """The journal is the model after some number of units, and holds every acknowledged one."""
    with Journal.open(path) as journal:
        units = committed(journal)
        assert acknowledged == list(range(len(acknowledged)))
        assert units >= len(acknowledged)
        assert contents(journal) == model(units)
        assert verify(journal) == []
        assert journal.next_run() > journal.highest_run()


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_point_and_restarted_nothing_is_lost_or_torn(
    point: str, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    code, acknowledged = run_child(path, f"{point}:{1 if point in ONCE else 2}")
    assert code == -signal.SIGKILL, "the workload never came to this point"
    check(path, acknowledged)

    code, more = run_child(path)
    assert code == 0
    check(path, sorted({*acknowledged, *more, *range(more[0])}))
    with Journal.open(path) as journal:
        assert contents(journal) == model(UNITS)


def test_killed_again_and_again_it_still_gets_to_the_end(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    for crash in range(1, 8):
        code, more = run_child(tmp_path, f"journal.done.after:{crash * 3}")
        acknowledged = sorted({*acknowledged, *more, *range(more[0])})
        assert code == -signal.SIGKILL
        check(tmp_path, acknowledged)


@pytest.mark.parametrize("acks", [1, 10, 40, 77])
def test_killed_from_outside_under_load(acks: int, tmp_path: Path) -> None:
    with start_child(tmp_path) as child:
        assert child.stdout
        lines = [child.stdout.readline() for _ in range(acks)]
        child.kill()
        lines += child.stdout.readlines()
    check(tmp_path, [int(line.removeprefix("ack ")) for line in lines])


@pytest.mark.parametrize(
    "point",
    ["commit", "op.append", "op.put_timer", "op.put_activity", "op.del_outbox", "op.put_run"],
)
def test_the_check_above_finds_planted_bugs(point: str, tmp_path: Path) -> None:
    # 118 units: the last has just added a timer, an activity and a message.
    _, acknowledged = run_child(tmp_path, f"journal.{point}.before:3+:skip", units=118)
    assert len(acknowledged) == 118
    with pytest.raises(AssertionError):
        check(tmp_path, acknowledged)
