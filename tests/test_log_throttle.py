"""What fails in a loop is logged a few times, and counted."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hosts.throttle import BURST, PERIOD, Throttle
from supervision.service import ServiceSpec
from supervision.state import State
from tests.clock import FakeClock
from tests.process_lab import eventually, process, running
from tests.services import CRASH, Bench
from tests.test_process_service import status
from tests.test_supervision_live import service, supervisor
from tests.test_supervision_strategies import AT_ONCE


def test_lines_of_a_key_are_held_back_and_counted() -> None:
    clock = FakeClock()
    throttle = Throttle(clock)
    assert [throttle.passes("a") for _ in range(BURST + 3)] == [""] * BURST + [None] * 3
    assert throttle.passes("b") == ""
    clock.advance(PERIOD + 1)
    assert throttle.passes("a") == " (and 3 times more since this was last written)"
    assert throttle.passes("a") == ""


def test_few_keys_are_remembered() -> None:
    throttle = Throttle(FakeClock())
    for _ in range(BURST):
        throttle.passes("a")
    for number in range(1000):
        throttle.passes(number)
    assert throttle.passes("a") == ""


def test_a_service_in_a_loop_writes_little(caplog: pytest.LogCaptureFixture) -> None:
    b = Bench([ServiceSpec("a", auto_start=True, restart=AT_ONCE)], lambda: 0.0)
    b.supervisor.start_all()
    with caplog.at_level(logging.INFO, "supervision"):
        for _ in range(50):
            b["a"].end(CRASH)
            b.until("a", State.RUNNING)
    assert len(caplog.records) == BURST
    caplog.clear()
    b.advance(PERIOD + 1)
    b["a"].end(CRASH)
    b.until("a", State.RUNNING)
    assert "a failed: Internal: it crashed" in caplog.text
    assert "(and 45 times more since this was last written)" in caplog.text
    b.supervisor.close()


def test_so_does_its_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = {
        "worker": process('error("it broke")'),
        "top": supervisor("a", intensity={"restarts": 100}),
        "a": service("a"),
    }
    with (
        caplog.at_level(logging.INFO),
        running(tmp_path, entries) as node,
    ):
        eventually(lambda: status(node, "app:top").state is State.FAILED)
    ends = [each for each in caplog.records if "ended with an error" in each.getMessage()]
    assert len(ends) == BURST
