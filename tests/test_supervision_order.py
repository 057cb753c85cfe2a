"""Dependencies start first and stop last; what cannot start is held, what hangs is named."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from runtime.errors import Kind, PerdureError
from supervision.service import RestartPolicy, ServiceSpec
from supervision.state import State
from tests.clock import S
from tests.services import CRASH, Bench, in_background

PLAIN = RestartPolicy(jitter=0.0)


@pytest.fixture
def make() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def bench(**requires: str) -> Bench:
        """One auto-started service for each name, with the names that it requires."""
        specs = [
            ServiceSpec(name, auto_start=True, requires=tuple(needs.split()), restart=PLAIN)
            for name, needs in requires.items()
        ]
        made.append(Bench(specs, lambda: 0.0))
        return made[-1]

    yield bench
    for each in made:
        each.supervisor.close()


Make = Callable[..., Bench]


def test_dependencies_start_first_and_stop_last(make: Make) -> None:
    b = make(web="host", host="journal store", journal="", store="")
    assert {each.state for each in b.supervisor.start_all()} == {State.RUNNING}
    assert set(b.journal[:2]) == {"start journal", "start store"}
    assert b.journal[2:] == ["start host", "start web"]
    b.journal.clear()
    assert b.supervisor.stop_all() == []
    assert b.journal[:2] == ["stop web", "stop host"]
    assert set(b.journal[2:]) == {"stop journal", "stop store"}
    assert set(b.states().values()) == {State.STOPPED}
    b.supervisor.start_all()
    assert set(b.states().values()) == {State.RUNNING}


def test_what_waits_for_nothing_starts_and_stops_in_parallel(make: Make) -> None:
    b = make(a="", b="", c="")
    together = threading.Barrier(3, timeout=30)

    def meet() -> None:
        together.wait()

    for service in b.services.values():
        service.on_start = service.on_stop = meet
    assert {each.state for each in b.supervisor.start_all()} == {State.RUNNING}
    assert b.supervisor.stop_all() == []


def test_progress_tells_every_change_of_state(make: Make) -> None:
    b = make(a="", b="a")
    seen: list[tuple[str, str]] = []
    b.supervisor.start_all(lambda status: seen.append((status.id, status.state)))
    assert seen == [("a", "starting"), ("a", "running"), ("b", "starting"), ("b", "running")]
    seen.clear()
    b.supervisor.stop_all(lambda status: seen.append((status.id, status.state)))
    assert seen == [("b", "stopping"), ("b", "stopped"), ("a", "stopping"), ("a", "stopped")]


def test_a_start_is_held_until_what_it_requires_runs(make: Make) -> None:
    b = make(a="", b="a", c="b")

    def refuse() -> None:
        raise CRASH

    b["a"].on_start = refuse
    states = {each.id: each for each in b.supervisor.start_all()}
    assert states["a"].state is State.FAILED
    assert (states["b"].state, states["b"].waiting_for) == (State.UNKNOWN, ("a",))
    assert (states["c"].state, states["c"].waiting_for) == (State.UNKNOWN, ("b",))
    b.advance(S)
    b.until("a", State.FAILED)
    assert b.journal == ["start a", "start a"]
    b["a"].on_start = lambda: None
    b.advance(2 * S)
    b.until("c", State.RUNNING)
    assert b.journal == ["start a", "start a", "start a", "start b", "start c"]
    assert b.status("b").restarts == 0
    assert b.status("b").waiting_for == ()


def test_running_dependents_go_on_and_only_starts_wait(make: Make) -> None:
    b = make(a="", b="a", c="a")
    b.supervisor.start_all()
    b["a"].end(CRASH)
    assert b.states() == {"a": State.FAILED, "b": State.RUNNING, "c": State.RUNNING}
    # b's retry is due at the same time as a's: it waits for a to run.
    b["b"].end(CRASH)
    assert b.status("b").next_attempt == S
    gate = threading.Event()
    b["a"].on_start = partial(gate.wait, 30)
    b.advance(S)
    b.until("a", State.STARTING)
    assert b.status("b").waiting_for == ("a",)
    gate.set()
    b.until("b", State.RUNNING)
    assert b.journal[3:] == ["start a", "start b"]
    assert b.status("c").state is State.RUNNING


def test_a_dependency_that_did_its_work_and_returned_holds_nothing(make: Make) -> None:
    b = make(migration="", slow="", app="migration slow")
    gate = threading.Event()
    b["slow"].on_start = partial(gate.wait, 30)
    started = in_background(b.supervisor.start_all)
    b.until("migration", State.RUNNING)
    b["migration"].end(None)
    gate.set()
    assert {each.id: each.state for each in started.result(30)} == {
        "migration": State.EXITED,
        "slow": State.RUNNING,
        "app": State.RUNNING,
    }


def test_what_is_not_auto_started_starts_when_it_is_required() -> None:
    b = Bench(
        [
            ServiceSpec("journal"),
            ServiceSpec("other"),
            ServiceSpec("host", auto_start=True, requires=("journal",)),
        ],
        lambda: 0.0,
    )
    [host] = b.supervisor.start_all()
    assert host.state is State.RUNNING
    assert b.journal == ["start journal", "start host"]
    assert b.status("other").state is State.UNKNOWN
    b.supervisor.close()


def test_one_service_is_stopped_after_what_requires_it_and_brings_what_it_requires(
    make: Make,
) -> None:
    b = make(a="", b="a", c="b", d="")
    b.supervisor.start_all()
    b.journal.clear()
    assert b.supervisor.stop_child("b").state is State.STOPPED
    assert b.journal == ["stop c", "stop b"]
    b.supervisor.stop_child("a")
    b.journal.clear()
    assert b.supervisor.start_child("c").state is State.RUNNING
    assert b.journal == ["start a", "start b", "start c"]
    b.journal.clear()
    assert b.supervisor.restart_child("b").state is State.RUNNING
    assert b.journal == ["stop c", "stop b", "start b", "start c"]
    assert set(b.states().values()) == {State.RUNNING}
    assert b.status("b").restarts == 0


def test_a_service_that_does_not_stop_in_time_is_named_and_holds_up_no_other(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    b = make(a="", b="a")
    b.supervisor.start_all()
    gate = threading.Event()
    b["b"].on_stop = partial(gate.wait, 30)
    stopping = in_background(b.supervisor.stop_all)
    b.until("b", State.STOPPING)
    with caplog.at_level(logging.ERROR):
        b.advance(10 * S)
        assert stopping.result(30) == ["b"]
    assert "b did not stop within 10s (stop_timeout)" in caplog.text
    assert b.states() == {"a": State.STOPPED, "b": State.EXITED}
    status = b.status("b")
    assert status.hung
    assert status.error is not None
    assert status.error.kind == Kind.TIMEOUT

    # It is not started on top of the stop that hangs, but once that has come back.
    b.supervisor.start_child("b")
    assert b.status("b").state is State.EXITED
    gate.set()
    b.until("b", State.RUNNING)
    assert not b.status("b").hung


def test_a_service_that_is_starting_can_be_stopped(make: Make) -> None:
    b = make(a="", b="a")
    given_up = threading.Event()

    def start() -> None:
        given_up.wait(30)
        raise CRASH

    b["a"].on_start = start
    b["a"].on_stop = given_up.set
    started = in_background(b.supervisor.start_all)
    b.until("a", State.STARTING)
    assert b.supervisor.stop_all() == []
    assert b.states() == {"a": State.STOPPED, "b": State.UNKNOWN}
    started.result(30)
    assert b.journal == ["start a", "stop a"]


def test_a_crash_during_its_stop_is_no_failure(make: Make) -> None:
    b = make(a="")
    b.supervisor.start_all()
    b["a"].on_stop = lambda: b["a"].end(CRASH)
    assert b.supervisor.stop_all() == []
    assert b.status("a").state is State.STOPPED
    assert b.clock.timers.next_due() is None


def test_status_tells_kind_and_uptime() -> None:
    b = Bench([ServiceSpec("a", kind="process.host", auto_start=True)], lambda: 0.0)
    assert (b.status("a").state, b.status("a").uptime) == (State.UNKNOWN, None)
    b.supervisor.start_all()
    b.advance(7 * S)
    status = b.status("a")
    assert (status.kind, status.uptime) == ("process.host", 7 * S)
    b.supervisor.close()


def test_unknown_ids_cycles_and_a_closed_supervisor_are_errors(make: Make) -> None:
    b = make(journal="", host="journal")
    with pytest.raises(PerdureError, match='no service "jurnal"; did you mean "journal"'):
        b.supervisor.start_child("jurnal")
    with pytest.raises(PerdureError, match="a requires b, which is no service here"):
        make(a="b")
    with pytest.raises(PerdureError, match="a -> b -> a"):
        make(a="b", b="a")
    b.supervisor.start_all()
    b.supervisor.close()
    with pytest.raises(PerdureError, match=r"app:root is closed"):
        b.supervisor.status()
    b["journal"].end(CRASH)  # nobody hears it, nothing is raised
