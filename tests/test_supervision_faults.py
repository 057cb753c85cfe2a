"""What dies at the worst moment, a thousand at once, and storms that starve nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from hosts.timers import Timers
from runtime.clock import SystemClock
from runtime.errors import Kind, PerdureError
from supervision.messages import Goal, ServiceStatus
from supervision.service import Family, OnDone, RestartPolicy, ServiceSpec, Strategy
from supervision.state import State
from supervision.supervisor import Supervisor
from tests.clock import S
from tests.services import CRASH, eventually
from tests.supervision_lab import Lab, Puppet
from tests.test_supervision_strategies import child, family

FOR_EVER = 1_000_000_000


def lab(*specs: ServiceSpec) -> Lab:
    made = Lab(specs)
    made.want(Goal.UP)
    made.drain()
    return made


def waiting(verb: str) -> Callable[[str], str]:
    return lambda called: "never" if called == verb else "well"


def test_a_child_dies_while_its_siblings_are_restarted() -> None:
    b = lab(family("top", "a b c", "one_for_all"), *map(child, "abc"))
    b.puppets["c"].manner = waiting("stop")  # type: ignore[assignment]
    b.puppets["a"].end(CRASH)
    b.drain()
    assert b.status()["c"].state is State.STOPPING
    b.puppets["b"].end(CRASH)  # it was to be stopped next
    b.drain()
    b.puppets["c"].end(CRASH)  # it dies of its stop
    b.drain()
    b.puppets["c"].come_back("stop")
    b.drain()
    assert {each.state for each in b.status().values()} == {State.RUNNING}
    assert [b.puppets[each].starts for each in "abc"] == [2, 2, 2]


def test_a_child_dies_while_its_sibling_starts_again() -> None:
    b = lab(family("top", "a b c", "rest_for_one"), *map(child, "abc"))
    b.puppets["b"].manner = waiting("start")  # type: ignore[assignment]
    b.puppets["b"].end(CRASH)
    b.drain()
    states = b.status()
    assert (states["b"].state, states["c"].state) == (State.STARTING, State.STOPPED)
    assert states["c"].waiting_for == ("b",)
    b.puppets["a"].end(CRASH)
    b.drain()
    assert b.status()["b"].state is State.STOPPING  # its start has to come back first
    b.puppets["b"].manner = lambda verb: "well"
    b.puppets["b"].come_back("start")
    b.drain()
    assert {each.state for each in b.status().values()} == {State.RUNNING}
    assert [b.puppets[each].starts for each in "abc"] == [2, 3, 2]


def test_a_supervisor_dies_while_it_is_stopped_and_while_its_own_restarts() -> None:
    b = lab(
        family("top", "x inner", "one_for_all"),
        child("x"),
        family("inner", "a b", restarts=0, restart=RestartPolicy(0, jitter=0.0)),
        child("a"),
        child("b"),
    )
    b.puppets["b"].manner = waiting("stop")  # type: ignore[assignment]
    b.puppets["x"].end(CRASH)
    b.drain()
    assert b.status()["inner"].state is State.STOPPING
    b.puppets["a"].end(CRASH)  # more than it bears, but it stops anyway
    b.drain()
    b.puppets["b"].manner = lambda verb: "well"
    b.puppets["b"].come_back("stop")
    b.drain()
    assert {each.state for each in b.status().values()} == {State.RUNNING}
    assert b.status()["inner"].restarts == 0

    b.puppets["b"].manner = waiting("stop")  # type: ignore[assignment]
    b.puppets["a"].end(CRASH)
    b.drain()
    assert b.status()["inner"].state is State.STOPPING
    stopped = b.want(Goal.DOWN)
    b.puppets["b"].come_back("stop")
    b.drain()
    assert stopped.done.done()
    assert {each.state for each in b.status().values()} == {State.STOPPED}


def test_a_sibling_that_does_not_stop_is_left_behind_and_named() -> None:
    b = lab(family("top", "a b", "one_for_all"), *map(child, "ab"))
    b.puppets["b"].manner = waiting("stop")  # type: ignore[assignment]
    b.puppets["a"].end(CRASH)
    b.drain()
    b.advance(10 * S)
    states = b.status()
    assert (states["a"].state, states["top"].state) == (State.RUNNING, State.RUNNING)
    assert (states["b"].state, states["b"].hung) == (State.EXITED, True)
    b.puppets["b"].come_back("stop")
    b.drain()
    again = b.want(Goal.UP, "b")
    b.drain()
    assert [each.state for each in again.done.result(0)] == [State.RUNNING]


def test_what_hears_of_transitions_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    def wrong(event: object) -> None:
        raise SystemExit(3)

    supervisor = Supervisor(
        "root",
        [(ServiceSpec("a", auto_start=True), Puppet("a"))],
        Timers(SystemClock()),
        on_transition=wrong,
    )
    assert [each.state for each in supervisor.start_all()] == [State.RUNNING]
    assert supervisor.stop_all() == []
    supervisor.close()
    assert "what hears of transitions failed" in caplog.text


# Many ---------------------------------------------------------------------------------------------


class Crowd:
    """A real supervisor over many puppets."""

    def __init__(self, count: int, strategy: Strategy, restarts: int) -> None:
        self.puppets = [Puppet(f"app:p{n}") for n in range(count)]
        specs = [child(each.id) for each in self.puppets]
        names = Family(tuple(each.id for each in specs), strategy, restarts, 5 * S)
        top = ServiceSpec(
            "app:top", auto_start=True, family=names, restart=RestartPolicy(0, jitter=0.0)
        )
        self.calm = Puppet("app:calm")
        calm = child(self.calm.id, auto_start=True)
        self.supervisor = Supervisor(
            "root",
            [(top, None), (calm, self.calm), *zip(specs, self.puppets, strict=True)],
            Timers(SystemClock()),
        )
        self.supervisor.start_all()

    def status(self, service_id: str) -> ServiceStatus:
        return next(each for each in self.supervisor.status() if each.id == service_id)

    def all_run(self) -> bool:
        return all(each.state is State.RUNNING for each in self.supervisor.status())


@pytest.fixture
def crowd() -> Iterator[Callable[..., Crowd]]:
    made: list[Crowd] = []

    def make(
        count: int, strategy: Strategy = Strategy.ONE_FOR_ONE, restarts: int = FOR_EVER
    ) -> Crowd:
        made.append(Crowd(count, strategy, restarts))
        return made[-1]

    yield make
    for each in made:
        assert each.supervisor.stop_all() == []
        each.supervisor.close()


def crash_together(puppets: list[Puppet]) -> None:
    """All of them, from a few threads at once."""
    together = threading.Barrier(4, timeout=30)

    def some(first: int) -> None:
        together.wait()
        for each in puppets[first::4]:
            each.end(CRASH)

    threads = [threading.Thread(target=some, args=(first,)) for first in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


@pytest.mark.parametrize(
    ("strategy", "restarts", "given_up"),
    [
        (Strategy.ONE_FOR_ONE, FOR_EVER, False),
        (Strategy.ONE_FOR_ALL, FOR_EVER, False),
        (Strategy.ONE_FOR_ONE, 3, True),
    ],
)
def test_a_thousand_children_crash_together(
    crowd: Callable[..., Crowd], strategy: Strategy, restarts: int, given_up: bool
) -> None:
    many = crowd(1000, strategy, restarts)
    crash_together(many.puppets)
    eventually(lambda: many.all_run() and all(each.starts > 1 for each in many.puppets))
    assert all(each.running for each in many.puppets)
    if not given_up and strategy is Strategy.ONE_FOR_ONE:
        assert {each.starts for each in many.puppets} == {2}
    assert (many.status("app:top").restarts > 0) is given_up
    assert many.calm.starts == 1


class Doomed(Puppet):
    """Ends as soon as it has started."""

    def begin_start(self, done: OnDone) -> None:
        super().begin_start(done)
        self.end(CRASH)


def test_a_storm_of_restarts_starves_nobody() -> None:
    doomed = [Doomed(f"app:d{n}") for n in range(50)]
    calm = Puppet("app:calm")
    names = Family(tuple(each.id for each in doomed), restarts=FOR_EVER)
    supervisor = Supervisor(
        "root",
        [
            (ServiceSpec("app:storm", auto_start=True, family=names), None),
            *((child(each.id), each) for each in doomed),
            (child(calm.id, auto_start=True), calm),
        ],
        Timers(SystemClock()),
    )
    threading.Thread(target=supervisor.start_all, daemon=True).start()
    eventually(lambda: calm.running and doomed[-1].starts > 2)
    for count in range(2, 12):
        calm.end(CRASH)
        eventually(lambda count=count: calm.starts == count)  # type: ignore[misc]
    assert supervisor.stop_child("app:calm").state is State.STOPPED
    assert supervisor.start_child("app:calm").state is State.RUNNING
    # Those of the storm take turns, too.
    seen = [each.starts for each in doomed]
    eventually(lambda: all(each.starts > old for each, old in zip(doomed, seen, strict=True)))
    assert supervisor.stop_all() == []
    supervisor.close()


def test_errors_of_a_storm_say_what_gave_up() -> None:
    b = lab(family("top", "a", restarts=0), child("a"))
    b.puppets["a"].end(PerdureError(Kind.CONFLICT, "there is another one"))
    b.drain()
    error = b.status()["top"].error
    assert error is not None
    assert "the last was a: Conflict: there is another one" in error.message


FULL = PerdureError(Kind.UNAVAILABLE, "the disk is full", True)


def troubled() -> Lab:
    """A journal in trouble, and its host; the events so far are taken."""
    b = lab(
        child("journal", auto_start=True), child("host", auto_start=True, requires=("journal",))
    )
    for each in b.puppets.values():
        each.trouble = FULL
    b.events.clear()
    b.puppets["journal"].tell_trouble()
    b.puppets["journal"].tell_trouble()  # both are handled after the second
    b.drain()
    assert b.events == [(each, "running", "failed", FULL) for each in ("journal", "host")]
    b.events.clear()
    return b


def test_trouble_that_comes_and_goes_is_told_of_a_service_and_of_what_requires_it() -> None:
    b = troubled()
    for each in b.puppets.values():
        each.trouble = None
    b.puppets["journal"].tell_trouble()
    b.drain()
    assert b.events == [(each, "failed", "running", None) for each in ("journal", "host")]
    assert [each.starts for each in b.puppets.values()] == [1, 1]


def test_services_are_stopped_started_and_crash_in_trouble() -> None:
    b = troubled()
    b.want(Goal.RESTART, "host")
    b.drain()
    assert [event[1:3] for event in b.events] == [
        ("failed", "stopping"),
        ("stopping", "stopped"),
        ("stopped", "starting"),
        ("starting", "running"),
        ("running", "failed"),
    ]
    assert b.status()["host"].state is State.FAILED
    b.events.clear()
    b.puppets["journal"].end(CRASH)
    b.drain()
    assert b.events[0] == ("journal", "failed", "failed", CRASH)
