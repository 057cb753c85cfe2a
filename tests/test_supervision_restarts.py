"""What a supervisor really waits before a restart, and when it stops trying."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pykka
import pytest

from runtime.errors import Kind, PerdureError
from supervision.service import RestartPolicy, ServiceSpec
from supervision.state import State
from tests.clock import S
from tests.services import CRASH, Bench, eventually, in_background

PLAIN = RestartPolicy(jitter=0.0)

MakeBench = Callable[..., Bench]


@pytest.fixture
def bench() -> Iterator[MakeBench]:
    made: list[Bench] = []

    def make(*specs: ServiceSpec, rng: Callable[[], float] = random.random) -> Bench:
        made.append(Bench(specs, rng))
        return made[-1]

    yield make
    for each in made:
        each.supervisor.close()


def one(**fields: object) -> ServiceSpec:
    return ServiceSpec("app:a", auto_start=True, **{"restart": PLAIN, **fields})  # type: ignore[arg-type]


def crash_and_wait(bench: Bench, uptime: int = 0) -> int:
    """Crash the running app:a; nanoseconds until it was really started again."""
    bench.until("app:a", State.RUNNING)
    bench.advance(uptime)
    crashed = bench.clock.monotonic()
    bench["app:a"].end(CRASH)
    waiting = bench.status("app:a")
    assert waiting.state is State.FAILED
    assert waiting.next_attempt is not None
    starts = len(bench["app:a"].started_at)
    bench.advance(waiting.next_attempt - 1)
    assert bench.status("app:a").state is State.FAILED
    assert len(bench["app:a"].started_at) == starts
    bench.advance(1)
    bench.until("app:a", State.RUNNING)
    return bench["app:a"].started_at[starts] - crashed


def test_the_delays_grow_to_the_maximum(bench: MakeBench) -> None:
    b = bench(one())
    b.supervisor.start_all()
    waited = [crash_and_wait(b) for _ in range(9)]
    assert waited == [n * S for n in (1, 2, 4, 8, 16, 32, 64, 90, 90)]
    assert b.status("app:a").restarts == 9
    assert b.status("app:a").error == CRASH


def test_the_jitter_is_drawn_for_every_restart(bench: MakeBench) -> None:
    draws = iter([0.0, 0.5, 1.0])
    b = bench(one(restart=RestartPolicy(jitter=0.5)), rng=lambda: next(draws))
    b.supervisor.start_all()
    assert [crash_and_wait(b) for _ in range(3)] == [S, 3 * S // 2, 2 * S]


def test_a_stable_run_begins_the_delays_anew(bench: MakeBench) -> None:
    b = bench(one())
    b.supervisor.start_all()
    uptimes = (0, 0, 5 * S, 5 * S + 1, 0, 3600 * S)
    waited = [crash_and_wait(b, uptime) for uptime in uptimes]
    assert waited == [n * S for n in (1, 2, 4, 1, 2, 1)]


def test_no_delay_restarts_at_once(bench: MakeBench) -> None:
    b = bench(one(restart=RestartPolicy(initial_delay=0)))
    b.supervisor.start_all()
    for _ in range(3):
        b["app:a"].end(CRASH)
        b.until("app:a", State.RUNNING)
    assert b["app:a"].started_at == [0, 0, 0, 0]


def test_a_start_that_raises_is_tried_again_with_growing_delays(bench: MakeBench) -> None:
    b = bench(one())

    def refuse() -> None:
        raise OSError("the port is taken")

    b["app:a"].on_start = refuse
    [status] = b.supervisor.start_all()
    assert status.state is State.FAILED
    assert status.error == PerdureError(Kind.INTERNAL, "OSError: the port is taken")
    for _ in range(3):
        left = b.status("app:a").next_attempt
        assert left
        b.advance(left)
        b.until("app:a", State.FAILED)
    begun = b["app:a"].started_at
    gaps = [after - before for before, after in itertools.pairwise(begun)]
    assert gaps == [S, 2 * S, 4 * S]


def test_attempts_are_used_up(bench: MakeBench) -> None:
    b = bench(one(restart=RestartPolicy(jitter=0.0, max_attempts=2)))
    b.supervisor.start_all()
    assert [crash_and_wait(b) for _ in range(2)] == [S, 2 * S]
    b["app:a"].end(CRASH)
    status = b.status("app:a")
    assert (status.state, status.exit_reason) == (State.EXITED, "gave up after 2 restarts")
    assert (status.error, status.next_attempt) == (CRASH, None)
    b.advance(3600 * S)
    assert len(b["app:a"].started_at) == 3

    assert b.supervisor.start_child("app:a").state is State.RUNNING
    assert crash_and_wait(b) == S


def test_a_return_is_an_exit_and_no_failure(bench: MakeBench) -> None:
    b = bench(one())
    b.supervisor.start_all()
    b["app:a"].end(None)
    status = b.status("app:a")
    assert (status.state, status.exit_reason) == (State.EXITED, "returned")
    assert status.error is None
    b.advance(3600 * S)
    assert len(b["app:a"].started_at) == 1


def test_an_error_that_is_not_retryable_is_final(bench: MakeBench) -> None:
    b = bench(one())
    fatal = PerdureError(Kind.PERMISSION_DENIED, "wrong password", retryable=False)

    def refuse() -> None:
        raise fatal

    b["app:a"].on_start = refuse
    [status] = b.supervisor.start_all()
    assert (status.state, status.error) == (State.EXITED, fatal)


def test_an_exit_before_the_start_came_back_counts_once_it_has(bench: MakeBench) -> None:
    b = bench(one())
    b["app:a"].on_start = lambda: b["app:a"].end(CRASH)
    b.supervisor.start_all()
    b.until("app:a", State.FAILED)
    assert b.status("app:a").error == CRASH


def test_an_exit_of_an_earlier_run_is_nothing_to_this_one(bench: MakeBench) -> None:
    b = bench(one())
    b.supervisor.start_all()
    stale = b["app:a"].exits[0]
    crash_and_wait(b)
    stale(CRASH)
    assert b.status("app:a").state is State.RUNNING


def test_a_failed_service_can_be_started_at_once_or_left(bench: MakeBench) -> None:
    b = bench(one())
    b.supervisor.start_all()
    b["app:a"].end(CRASH)
    assert b.supervisor.start_child("app:a").state is State.RUNNING
    assert b.clock.monotonic() == 0

    b["app:a"].end(CRASH)
    assert b.supervisor.stop_child("app:a").state is State.STOPPED
    b.advance(3600 * S)
    assert b.status("app:a").state is State.STOPPED
    assert "stop app:a" not in b.journal


@pytest.mark.parametrize("wrong", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_would_end_the_interpreter_ends_only_the_service(
    bench: MakeBench, wrong: BaseException
) -> None:
    b = bench(one())
    actors = pykka.ActorRegistry.get_all()

    def leave() -> None:
        raise wrong

    b["app:a"].on_start = leave
    [status] = b.supervisor.start_all()
    assert status.state is State.FAILED
    assert status.error is not None
    assert type(wrong).__name__ in status.error.message
    assert "in leave" in status.error.trace

    b["app:a"].on_start = lambda: None
    b["app:a"].on_stop = leave
    b.supervisor.start_child("app:a")
    status = b.supervisor.stop_child("app:a")
    assert status.state is State.STOPPED
    assert status.error is not None
    assert all(actor.is_alive() for actor in actors)


def test_a_start_that_takes_too_long_is_stopped_and_tried_again(bench: MakeBench) -> None:
    b = bench(one(start_timeout=3 * S))
    given_up = threading.Event()
    b["app:a"].on_start = partial(given_up.wait, 30)
    b["app:a"].on_stop = given_up.set
    started = in_background(b.supervisor.start_all)
    eventually(lambda: bool(b["app:a"].started_at))
    b.advance(3 * S)
    [status] = started.result(30)
    assert status.state is State.FAILED
    assert status.error == PerdureError(
        Kind.TIMEOUT, "app:a did not start within 3s (start_timeout)"
    )
    # Its start came back without an error after it was given up: it is stopped once more.
    assert b.journal == ["start app:a", "stop app:a", "stop app:a"]
    b.advance(S)
    b.until("app:a", State.RUNNING)
    assert b["app:a"].started_at == [0, 4 * S]


def test_a_start_that_hangs_and_cannot_be_stopped_is_given_up(bench: MakeBench) -> None:
    b = bench(one(start_timeout=3 * S, stop_timeout=2 * S))
    gate = threading.Event()
    b["app:a"].on_start = b["app:a"].on_stop = partial(gate.wait, 30)
    started = in_background(b.supervisor.start_all)
    eventually(lambda: b.journal == ["start app:a"])
    b.advance(3 * S)
    b.until("app:a", State.STOPPING)
    b.advance(2 * S)
    [status] = started.result(30)
    assert (status.state, status.hung) == (State.EXITED, True)
    assert b.supervisor.stop_all() == ["app:a"]
    gate.set()
    eventually(lambda: not b.status("app:a").hung)
    assert b.status("app:a").state is State.EXITED
    assert len(b["app:a"].started_at) == 1


def test_a_restart_that_was_asked_for_outlives_a_crash_on_the_way(bench: MakeBench) -> None:
    b = bench(one(), ServiceSpec("app:b", auto_start=True, requires=("app:a",)))
    b.supervisor.start_all()
    gate = threading.Event()
    b["app:b"].on_stop = partial(gate.wait, 30)
    restarted = in_background(b.supervisor.restart_child, "app:a")
    b.until("app:b", State.STOPPING)
    b["app:a"].end(None)
    b.until("app:a", State.RUNNING)
    gate.set()
    assert restarted.result(30).state is State.RUNNING
    b.until("app:b", State.RUNNING)
    assert b.clock.monotonic() == 0
