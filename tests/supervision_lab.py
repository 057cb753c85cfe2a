"""A supervision tree without threads: messages and time are the test's to hand in."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

from runtime.errors import PerdureError
from supervision.conductor import Conductor
from supervision.messages import Asked, Goal, Look, Report, Request, ServiceStatus, Supervised
from supervision.service import (
    Family,
    OnDone,
    OnExit,
    OnTrouble,
    PromptService,
    RestartPolicy,
    ServiceSpec,
    Strategy,
)
from supervision.state import State
from tests.clock import FakeClock, S
from tests.services import CRASH

#: What a call of a service does: come back, come back with an error, or wait for the test.
Manner = Literal["well", "badly", "never"]


class Puppet(PromptService):
    """A service that does as the test says, and fails when it is not treated as promised."""

    def __init__(self, service_id: str) -> None:
        self.id = service_id
        self.running = False
        self.starts = 0
        self.manner: Callable[[str], Manner] = lambda verb: "well"
        self.trouble: PerdureError | None = None
        #: Calls that have not come back, by their verb.
        self.waiting: dict[str, OnDone] = {}
        self._on_exit: OnExit = lambda reason: None

    def attach(self, on_exit: OnExit) -> None:
        self._on_exit = on_exit

    def attach_trouble(self, on_trouble: OnTrouble) -> None:
        self.tell_trouble = on_trouble

    def begin_start(self, done: OnDone) -> None:
        assert not self.running, f"{self.id} is started while it runs"
        assert not self.waiting, f"{self.id} is started before its {list(self.waiting)} came back"
        self.starts += 1
        self._begin("start", done)

    def begin_stop(self, done: OnDone) -> None:
        assert "stop" not in self.waiting, f"{self.id} is stopped twice at a time"
        self._begin("stop", done)

    def come_back(self, verb: str, error: PerdureError | None = None) -> None:
        """Let a call that waits come back; a stop never fails."""
        done = self.waiting.pop(verb)
        self.running = verb == "start" and error is None
        done(error)

    def end(self, reason: PerdureError | None) -> None:
        """End by itself."""
        self.running = False
        self._on_exit(reason)

    def _begin(self, verb: str, done: OnDone) -> None:
        self.waiting[verb] = done
        manner = self.manner(verb)
        if manner != "never":
            self.come_back(verb, CRASH if manner == "badly" and verb == "start" else None)


class Lab:
    """A conductor over puppets, one for each spec without a family."""

    def __init__(self, specs: Iterable[ServiceSpec]) -> None:
        self.clock = FakeClock()
        self.messages: list[Report] = []
        #: Every transition: id, states from and to, error.
        self.events: list[tuple[str, str, str, PerdureError | None]] = []
        #: Every puppet there ever was; `puppets` has those that are in the tree.
        self.made: list[Puppet] = []
        services = [self.supervised(spec) for spec in specs]
        self.conductor = Conductor(
            "lab", services, self.clock.timers, lambda: 0.0, self.messages.append,
            lambda name, call: call(), self._moved,
        )  # fmt: skip

    def supervised(self, spec: ServiceSpec) -> Supervised:
        """A spec, with a new puppet where it has code."""
        if spec.family is not None:
            return (spec, None)
        puppet = Puppet(spec.id)
        self.made.append(puppet)
        return (spec, puppet)

    @property
    def puppets(self) -> dict[str, Puppet]:
        children = self.conductor.tree.children.values()
        return {each.spec.id: each.service for each in children if isinstance(each.service, Puppet)}

    def _moved(self, event: dict[str, Any]) -> None:
        """A start begins in its turn only."""
        self.events.append((event["id"], event["from"], event["to"], event["error"]))
        child = self.conductor.tree.children[event["id"]]
        if event["to"] != "starting" or child.parent is None:
            return
        for each in child.requires:
            assert each.state in (State.RUNNING, State.EXITED), (child.spec.id, each.spec.id)
        supervisor = child.parent
        assert supervisor.open
        if supervisor.family.strategy is not Strategy.ONE_FOR_ONE:
            for each in supervisor.children[: child.place]:
                assert each.passed, (child.spec.id, each.spec.id)

    def ask(self, message: Asked) -> None:
        """Hand in what is asked."""
        self.conductor.handle(message)

    def want(self, goal: Goal, service_id: str | None = None) -> Request:
        """Ask for a goal."""
        request = Request(goal=goal, id=service_id)
        self.ask(request)
        return request

    def drain(self) -> None:
        """Hand in messages until there are none."""
        while self.messages:
            self.conductor.handle(self.messages.pop(0))

    def advance(self, nanoseconds: int) -> None:
        """Move the clock; what is due is handed in at its time."""
        end = self.clock.now + nanoseconds
        timers = self.clock.timers
        while (due := timers.next_due()) is not None and due <= end:
            self.clock.now = max(self.clock.now, due)
            timers.run_due()
            self.drain()
        self.clock.now = end

    def status(self) -> dict[str, ServiceStatus]:
        look = Look()
        self.ask(look)
        return {each.id: each for each in look.done.result(0)}


def forest(rng: random.Random, size: int) -> list[ServiceSpec]:
    """Random trees of about `size` services. What is required stands earlier in the list."""
    specs: list[ServiceSpec] = []
    hosts = [f"host{n}" for n in range(rng.randrange(3))]
    plain = RestartPolicy(jitter=0.0)
    specs += [ServiceSpec(each, auto_start=True, restart=plain) for each in hosts]
    numbers = iter(range(10_000))

    def grow(depth: int, supervised: bool) -> str:
        delay = rng.choice((0, 0, 0, S)) if supervised else S
        fields = partial(
            ServiceSpec,
            auto_start=not supervised and rng.random() < 0.8,
            requires=tuple(each for each in hosts if rng.random() < 0.2),
            restart=RestartPolicy(
                initial_delay=delay, jitter=0.0, max_attempts=rng.choice((0, 0, 0, 3))
            ),
        )
        if depth == 0 or rng.random() < 0.4:
            spec = fields(f"leaf{next(numbers)}")
        else:
            name = f"top{next(numbers)}"
            children = tuple(grow(depth - 1, True) for _ in range(rng.randrange(4)))
            strategy = rng.choice(list(Strategy))
            family = Family(children, strategy, rng.randrange(4), rng.choice((S, 5 * S)))
            spec = fields(name, family=family)
        specs.append(spec)
        return spec.id

    while len(specs) < size:
        grow(3, False)
    return specs
