"""Fault points: off they do nothing; armed they act as told, at the pass they were told."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from journal import faults

POINT = faults.declare("test.faults.here")
OTHER = faults.declare("test.faults.there")


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    faults.arm(None)


def test_off_a_point_does_nothing() -> None:
    assert not faults.active()
    assert not faults.point(POINT)


@pytest.mark.parametrize(
    ("spec", "hits"),
    [
        (f"{POINT}:1:skip", [True, False, False, False]),
        (f"{POINT}:3:skip", [False, False, True, False]),
        (f"{POINT}:2+:skip", [False, True, True, True]),
    ],
)
def test_an_armed_point_is_hit_at_its_pass_and_no_other_point_is(
    spec: str, hits: list[bool]
) -> None:
    faults.arm(spec)
    assert faults.active()
    for hit in hits:
        assert not faults.point(OTHER)
        assert faults.point(POINT) == hit


@pytest.mark.parametrize(
    ("action", "code"), [("raise-enospc", errno.ENOSPC), ("raise-eio", errno.EIO)]
)
def test_a_point_fails_as_a_disk_does(action: str, code: int) -> None:
    faults.arm(f"{POINT}:1:{action}")
    with pytest.raises(OSError, match=POINT) as caught:
        faults.point(POINT)
    assert caught.value.errno == code


@pytest.mark.parametrize(
    "spec",
    ["name", ":1", f"{POINT}:0", f"{POINT}:x", f"{POINT}:1:explode", f"{POINT}:1:kill:more"],
)
def test_a_malformed_fault_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match=r"write it as name:nth\[:action\]"):
        faults.arm(spec)


def test_a_point_that_nobody_declared_is_refused() -> None:
    with pytest.raises(ValueError, match=r'no fault point "test\.nowhere".*test\.faults\.here'):
        faults.arm("test.nowhere:1")


def test_all_declared_points_are_listed() -> None:
    assert {POINT, OTHER} <= set(faults.points())


def test_the_environment_variable_kills_a_process_at_the_point() -> None:
    program = f"""
from journal import faults
for n in range(5):
    print(n, flush=True)
    faults.point({POINT!r})
"""
    child = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, faults.VARIABLE: f"{POINT}:3"},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    assert child.stdout == "0\n1\n2\n"
