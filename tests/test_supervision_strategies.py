"""Supervisors: who is restarted with a child that crashed, and when a supervisor gives up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from runtime.errors import Kind, PerdureError
from supervision.service import Family, RestartPolicy, ServiceSpec, Strategy
from supervision.state import State
from tests.clock import S
from tests.services import CRASH, Bench, in_background

AT_ONCE = RestartPolicy(initial_delay=0, jitter=0.0)
PLAIN = RestartPolicy(jitter=0.0)


def child(name: str, **fields: object) -> ServiceSpec:
    return ServiceSpec(name, **{"restart": AT_ONCE, **fields})  # type: ignore[arg-type]


def family(
    name: str,
    children: str,
    strategy: str = "one_for_one",
    restarts: int = 3,
    **fields: object,
) -> ServiceSpec:
    members = Family(tuple(children.split()), Strategy(strategy), restarts, 5 * S)
    return ServiceSpec(
        name,
        auto_start=True,
        family=members,
        **{"restart": PLAIN, **fields},  # type: ignore[arg-type]
    )


Make = Callable[..., Bench]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Bench] = []

    def bench(*specs: ServiceSpec) -> Bench:
        made.append(Bench(specs, lambda: 0.0))
        return made[-1]

    yield bench
    for each in made:
        each.supervisor.close()


def started(make: Make, strategy: str, restarts: int = 3) -> Bench:
    """Four children under one supervisor, running."""
    b = make(family("top", "a b c d", strategy, restarts), *map(child, "abcd"))
    assert [each.state for each in b.supervisor.start_all()] == [State.RUNNING] * 5
    assert b.journal == ["start a", "start b", "start c", "start d"]
    b.journal.clear()
    return b


def settle(b: Bench) -> None:
    """Come back when nothing is under way."""
    for each in b.states():
        b.supervisor.start_child(each)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one_for_one", "start b"),
        ("one_for_all", "stop d, stop c, stop a, start a, start b, start c, start d"),
        ("rest_for_one", "stop d, stop c, start b, start c, start d"),
    ],
)
def test_who_is_restarted(make: Make, strategy: str, expected: str) -> None:
    b = started(make, strategy)
    b["b"].end(CRASH)
    b.until("b", State.RUNNING)
    settle(b)
    assert ", ".join(b.journal) == expected
    assert set(b.states().values()) == {State.RUNNING}
    assert b.status("b").restarts == 1
    assert b.status("top").restarts == 0


@pytest.mark.parametrize("strategy", list(Strategy))
def test_children_start_from_left_to_right_and_stop_from_right_to_left(
    make: Make, strategy: str
) -> None:
    b = started(make, strategy)
    assert b.supervisor.stop_child("top").state is State.STOPPED
    assert b.journal == ["stop d", "stop c", "stop b", "stop a"]
    assert set(b.states().values()) == {State.STOPPED}


def test_a_child_starts_when_the_one_to_its_left_is_up(make: Make) -> None:
    b = make(family("top", "a b"), child("a"), child("b"))
    gate = threading.Event()
    b["a"].on_start = partial(gate.wait, 30)
    begun = in_background(b.supervisor.start_all)
    b.until("a", State.STARTING)
    assert b.status("b").waiting_for == ("a",)
    assert b.status("top").state is State.STARTING
    gate.set()
    begun.result(30)
    assert set(b.states().values()) == {State.RUNNING}


def test_too_many_crashes_are_the_supervisors_own(make: Make) -> None:
    b = started(make, "one_for_one", restarts=2)
    for _ in range(2):
        b["b"].end(CRASH)
        b.until("b", State.RUNNING)
    b.journal.clear()
    b["c"].end(CRASH)
    failed = b.until("top", State.FAILED)
    assert b.journal == ["stop d", "stop b", "stop a"]
    assert failed.error is not None
    assert failed.error.kind == Kind.UNAVAILABLE
    assert "its children crashed 3 times within 5s" in failed.error.message
    assert "the last was c: " in failed.error.message
    assert failed.next_attempt == S
    b.advance(S)
    b.until("top", State.RUNNING)
    assert set(b.states().values()) == {State.RUNNING}
    assert b.status("top").restarts == 1


def test_crashes_that_are_further_apart_do_not_count_together(make: Make) -> None:
    b = started(make, "one_for_one", restarts=1)
    for _ in range(5):
        b["b"].end(CRASH)
        b.until("b", State.RUNNING)
        b.advance(5 * S + 1)
    assert b.status("top").state is State.RUNNING


def test_a_supervisor_that_gives_up_is_a_crash_to_its_own(make: Make) -> None:
    b = make(
        family("top", "left inner", "rest_for_one", restarts=1),
        child("left"),
        family("inner", "a b", restarts=0, restart=AT_ONCE),
        child("a"),
        child("b"),
    )
    b.supervisor.start_all()
    b.journal.clear()
    b["a"].end(CRASH)
    b.until("b", State.RUNNING)
    settle(b)
    assert b.journal == ["stop b", "start a", "start b"]
    assert b.status("inner").restarts == 1
    b.journal.clear()
    b["b"].end(CRASH)
    b.until("top", State.FAILED)
    assert b.journal == ["stop a", "stop left"]
    b.advance(S)
    b.until("top", State.RUNNING)
    assert set(b.states().values()) == {State.RUNNING}


def test_a_childs_own_delay_is_waited(make: Make) -> None:
    b = make(family("top", "a b", "one_for_all"), child("a"), child("b", restart=PLAIN))
    b.supervisor.start_all()
    b["b"].end(CRASH)
    b.until("a", State.RUNNING)
    assert (b.status("b").state, b.status("b").next_attempt) == (State.FAILED, S)
    b.advance(S)
    b.until("b", State.RUNNING)


def test_an_exit_hurts_no_sibling(make: Make) -> None:
    b = started(make, "one_for_all")
    b["b"].end(None)
    b["c"].end(PerdureError(Kind.INVALID, "hopeless", retryable=False))
    b.until("c", State.EXITED)
    assert b.journal == []
    b["d"].end(CRASH)
    b.until("d", State.RUNNING)
    assert b.journal == ["stop a", "start a", "start d"]
    b.supervisor.restart_child("top")
    assert set(b.states().values()) == {State.RUNNING}


def test_a_child_that_fails_to_start_uses_up_the_intensity(make: Make) -> None:
    b = make(family("top", "a b c"), *map(child, "abc"))

    def refuse() -> None:
        raise CRASH

    b["b"].on_start = refuse
    b.supervisor.start_all()
    b.until("top", State.FAILED)
    assert b.journal == ["start a", *["start b"] * 4, "stop a"]
    b["b"].on_start = lambda: None
    b.advance(S)
    b.until("top", State.RUNNING)


def test_one_child_is_stopped_and_started_by_command(make: Make) -> None:
    b = started(make, "one_for_all")
    assert b.supervisor.stop_child("b").state is State.STOPPED
    assert b.journal == ["stop b"]
    b["d"].end(CRASH)
    b.until("d", State.RUNNING)
    assert b.status("b").state is State.STOPPED
    assert b.supervisor.start_child("b").state is State.RUNNING
    assert b.supervisor.stop_child("top").state is State.STOPPED
    assert b.supervisor.start_child("c").state is State.RUNNING
    b.until("top", State.RUNNING)
    assert set(b.states().values()) == {State.RUNNING}


def test_what_requires_a_child_stops_before_it_and_goes_on_when_it_fails(make: Make) -> None:
    b = make(
        family("top", "a b", "one_for_all"),
        child("a"),
        child("b"),
        ServiceSpec("web", auto_start=True, requires=("b",)),
    )
    b.supervisor.start_all()
    assert b.journal == ["start a", "start b", "start web"]
    b.journal.clear()
    b["a"].end(CRASH)
    b.until("a", State.RUNNING)
    settle(b)
    assert b.journal == ["stop b", "start a", "start b"]
    b.journal.clear()
    b.supervisor.stop_child("top")
    assert b.journal == ["stop web", "stop b", "stop a"]


def test_services_that_wait_for_each_other_are_refused(make: Make) -> None:
    with pytest.raises(PerdureError, match="wait for each other: a -> b -> a"):
        make(family("top", "a b"), child("a", requires=("b",)), child("b"))
    with pytest.raises(PerdureError, match="wait for each other: a -> top -> a"):
        make(family("top", "a"), child("a", requires=("top",)))
    with pytest.raises(PerdureError, match="a is a child of one and of two"):
        make(family("one", "a"), family("two", "a"), child("a"))
    with pytest.raises(PerdureError, match="top supervises b, which is no service here"):
        make(family("top", "b"))
