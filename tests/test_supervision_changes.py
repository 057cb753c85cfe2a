"""Services come, go and are replaced while others run."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial

import pytest

from runtime.errors import Kind, PerdureError
from supervision.service import ServiceSpec
from supervision.state import State
from tests.clock import S
from tests.services import CRASH, in_background
from tests.test_supervision_strategies import Make, child, family
from tests.test_supervision_strategies import make as make


def test_a_service_is_added_and_taken_out(make: Make) -> None:
    b = make(ServiceSpec("a", auto_start=True))
    b.supervisor.start_all()
    [added] = b.supervisor.add(*b.supervised(ServiceSpec("b", auto_start=True, requires=("a",))))
    assert (added.id, added.state) == ("b", State.RUNNING)
    b.supervisor.add(*b.supervised(ServiceSpec("c")))
    assert b.states() == {"a": State.RUNNING, "b": State.RUNNING, "c": State.UNKNOWN}
    b.journal.clear()
    b.supervisor.remove("b")
    assert b.journal == ["stop b"]
    assert b.states() == {"a": State.RUNNING, "c": State.UNKNOWN}
    b["b"].end(CRASH)
    b.advance(S)
    assert b.states() == {"a": State.RUNNING, "c": State.UNKNOWN}


def test_a_replaced_service_takes_what_requires_it_through_the_change(make: Make) -> None:
    specs = [ServiceSpec(name, auto_start=True) for name in "ad"]
    needs = [ServiceSpec("b", auto_start=True, requires=("a",)), ServiceSpec("c", requires=("b",))]
    b = make(*specs, *needs)
    b.supervisor.start_all()
    b.supervisor.start_child("c")
    old = b["a"]
    b.journal.clear()
    new = replace(specs[0], requires=("d",))
    statuses = b.supervisor.add(*b.supervised(new))
    assert {each.id: each.state for each in statuses} == dict.fromkeys("abc", State.RUNNING)
    assert b.journal == ["stop c", "stop b", "stop a", "start a", "start b", "start c"]
    assert old is not b["a"]
    old.end(CRASH)
    assert b.status("a").state is State.RUNNING


def test_what_was_stopped_by_hand_stays_down_and_what_had_exited_comes_back(make: Make) -> None:
    specs = [ServiceSpec(name, auto_start=True) for name in "ab"]
    b = make(*specs)
    b.supervisor.start_all()
    b.supervisor.stop_child("a")
    b["b"].end(PerdureError(Kind.INVALID, "hopeless", retryable=False))
    b.until("b", State.EXITED)
    b.supervisor.change([b.supervised(each) for each in specs])
    assert b.states() == {"a": State.UNKNOWN, "b": State.RUNNING}


def test_a_family_changes_and_its_supervisor_goes_on(make: Make) -> None:
    b = make(family("top", "a b"), child("a"), child("b"))
    b.supervisor.start_all()
    b.advance(S)
    b.journal.clear()
    b.supervisor.change(
        [(family("top", "c a"), None), b.supervised(child("c"))],
    )
    assert b.journal == ["start c"]
    assert [(each.id, each.supervisor) for each in b.supervisor.status()] == [
        ("b", ""),
        ("top", ""),
        ("c", "top"),
        ("a", "top"),
    ]
    assert b.status("top").uptime == S
    b.journal.clear()
    b.supervisor.stop_child("top")
    assert b.journal == ["stop a", "stop c"]
    b.supervisor.change([(family("top", "c a b"), None)])
    assert b.status("b").state is State.STOPPED
    b.supervisor.start_child("top")
    b.supervisor.remove("top")
    assert [each.id for each in b.supervisor.status()] == ["a", "b", "c"]
    assert set(b.states().values()) == {State.RUNNING}


def test_a_change_that_cannot_be_changes_nothing(make: Make) -> None:
    b = make(ServiceSpec("a", auto_start=True), ServiceSpec("b", auto_start=True, requires=("a",)))
    b.supervisor.start_all()
    before, journal = b.states(), list(b.journal)
    with pytest.raises(PerdureError, match="b requires a, which is no service here"):
        b.supervisor.remove("a")
    with pytest.raises(PerdureError, match="a -> b -> a"):
        b.supervisor.add(*b.supervised(ServiceSpec("a", requires=("b",))))
    with pytest.raises(PerdureError, match='no service "c"'):
        b.supervisor.remove("c")
    assert (b.states(), b.journal) == (before, journal)


def test_what_is_asked_meanwhile_waits_for_the_change(make: Make) -> None:
    b = make(ServiceSpec("a", auto_start=True))
    b.supervisor.start_all()
    gate = threading.Event()
    b["a"].on_stop = partial(gate.wait, 30)
    removed = in_background(b.supervisor.remove, "a")
    b.until("a", State.STOPPING)
    again = in_background(b.supervisor.start_child, "a")
    added = in_background(b.supervisor.add, *b.supervised(ServiceSpec("b", auto_start=True)))
    assert set(b.states()) == {"a"}
    gate.set()
    removed.result(30)
    assert [each.state for each in added.result(30)] == [State.RUNNING]
    with pytest.raises(PerdureError, match='no service "a"'):
        again.result(30)


def test_a_shutdown_ends_a_change(make: Make) -> None:
    b = make(ServiceSpec("a", auto_start=True))
    b.supervisor.start_all()
    gate = threading.Event()
    b["a"].on_stop = partial(gate.wait, 30)
    replaced = in_background(b.supervisor.add, *b.supervised(ServiceSpec("a", auto_start=True)))
    b.until("a", State.STOPPING)
    stopped = in_background(b.supervisor.stop_all)
    with pytest.raises(PerdureError, match="nothing new is started"):
        replaced.result(30)
    gate.set()
    assert stopped.result(30) == []
    assert b.states() == {"a": State.STOPPED}
