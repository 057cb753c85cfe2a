"""Deadlines run when they are due, in order, once, and not after they were cancelled."""

from __future__ import annotations

import logging
import threading
from functools import partial

import pytest

from hosts.timers import Timers, TimerThread
from runtime.clock import SystemClock
from tests.clock import MS, FakeClock, S


def test_run_when_due_in_order_of_deadline_then_of_adding() -> None:
    clock = FakeClock()
    ran: list[tuple[str, int]] = []

    def add(name: str, due: int) -> None:
        clock.timers.add(due, lambda: ran.append((name, clock.monotonic())))

    add("late", 30)
    add("first of two", 20)
    add("second of two", 20)
    add("early", 10)

    clock.advance(9)
    assert ran == []
    clock.advance(11)
    assert ran == [("early", 10), ("first of two", 20), ("second of two", 20)]
    clock.advance(S)
    assert ran[3:] == [("late", 30)]
    assert clock.timers.next_due() is None


def test_cancelled_does_not_run_and_is_no_next_deadline() -> None:
    clock = FakeClock()
    ran: list[str] = []
    first = clock.timers.add(10, lambda: ran.append("first"))
    clock.timers.add(20, lambda: ran.append("second"))
    clock.timers.cancel(first)
    clock.timers.cancel(first)
    assert clock.timers.next_due() == 20
    clock.advance(20)
    assert ran == ["second"]
    clock.timers.cancel(first)


def test_a_callback_can_cancel_a_later_and_add_a_new_deadline() -> None:
    clock = FakeClock()
    ran: list[str] = []
    later = clock.timers.add(20, lambda: ran.append("later"))

    def first() -> None:
        clock.timers.cancel(later)
        clock.timers.add(clock.monotonic(), lambda: ran.append("at once"))

    clock.timers.add(10, first)
    clock.now = 10
    assert clock.timers.run_due() == 1
    assert ran == []
    assert clock.timers.run_due() == 1
    assert ran == ["at once"]


def test_a_raising_callback_is_logged_and_the_others_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    ran: list[str] = []

    def raising() -> None:
        raise ValueError("no good")

    clock.timers.add(10, raising)
    clock.timers.add(10, lambda: ran.append("other"))
    with caplog.at_level(logging.ERROR):
        clock.advance(10)
    assert ran == ["other"]
    assert "no good" in caplog.text


def test_cancelled_timers_do_not_pile_up() -> None:
    clock = FakeClock()
    ran: list[int] = []
    kept = [clock.timers.add(n, partial(ran.append, n)) for n in range(50)]
    for _ in range(10_000):
        clock.timers.cancel(clock.timers.add(600 * S, lambda: None))
    assert len(clock.timers._heap) < 300
    clock.timers.cancel(kept[3])
    clock.advance(100)
    assert ran == [n for n in range(50) if n != 3]


def test_the_thread_waits_for_the_nearest_and_hears_of_a_nearer() -> None:
    timers = Timers(SystemClock())
    thread = TimerThread(timers)
    thread.start()
    far = timers.add(timers.clock.monotonic() + 3600 * S, lambda: None)
    ran = threading.Event()
    begun = timers.clock.monotonic()
    timers.add(begun + 20 * MS, ran.set)
    assert ran.wait(timeout=10)
    assert timers.clock.monotonic() - begun >= 20 * MS
    thread.stop()
    assert timers.next_due() == far.due
