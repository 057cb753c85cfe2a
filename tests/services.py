"""A service that does as a test says, and a supervisor of such services on a fake clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from runtime.errors import Kind, PerdureError
from supervision.messages import ServiceStatus, Supervised
from supervision.service import OnExit, ServiceSpec
from supervision.state import State
from supervision.supervisor import Supervisor
from tests.clock import FakeClock

T = TypeVar("T")

CRASH = PerdureError(Kind.INTERNAL, "it crashed")


class ScriptedService:
    """Writes down its starts and stops; `on_start` and `on_stop` are what they do."""

    def __init__(self, service_id: str, clock: FakeClock, journal: list[str]) -> None:
        self.id = service_id
        self.started_at: list[int] = []
        self.on_start: Callable[[], object] = lambda: None
        self.on_stop: Callable[[], object] = lambda: None
        self.exits: list[OnExit] = []
        self._clock = clock
        self._journal = journal

    def attach(self, on_exit: OnExit) -> None:
        self.exits.append(on_exit)

    def start(self) -> None:
        self.started_at.append(self._clock.monotonic())
        self._journal.append(f"start {self.id}")
        self.on_start()

    def stop(self) -> None:
        self._journal.append(f"stop {self.id}")
        self.on_stop()

    def end(self, reason: PerdureError | None) -> None:
        """End the current run: by a crash with `reason`, or by a return."""
        self.exits[-1](reason)


class Bench:
    """A supervisor over scripted services, one for each spec that has no family."""

    def __init__(self, specs: Iterable[ServiceSpec], rng: Callable[[], float]) -> None:
        self.clock = FakeClock()
        self.journal: list[str] = []
        self.services: dict[str, ScriptedService] = {}
        self.events: list[dict[str, Any]] = []
        services = [self.supervised(spec) for spec in specs]
        self.supervisor = Supervisor(
            "app:root", services, self.clock.timers, rng, self.events.append
        )

    def supervised(self, spec: ServiceSpec) -> Supervised:
        """A spec with a new service for it."""
        if spec.family is not None:
            return (spec, None)
        service = ScriptedService(spec.id, self.clock, self.journal)
        self.services[spec.id] = service
        return (spec, service)

    def __getitem__(self, service_id: str) -> ScriptedService:
        return self.services[service_id]

    def status(self, service_id: str) -> ServiceStatus:
        return next(each for each in self.supervisor.status() if each.id == service_id)

    def states(self) -> dict[str, State]:
        return {each.id: each.state for each in self.supervisor.status()}

    def until(self, service_id: str, state: State) -> ServiceStatus:
        """The service's status once its state is `state`: its calls come back on threads."""
        eventually(lambda: self.status(service_id).state is state)
        return self.status(service_id)

    def advance(self, nanoseconds: int) -> None:
        """Move the clock; comes back when the supervisor has seen what was due."""
        self.clock.advance(nanoseconds)
        self.supervisor.status()


def eventually(holds: Callable[[], bool]) -> None:
    """Come back when `holds` does; fails after 30 real seconds."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.001)


def in_background(call: Callable[..., T], *args: Any) -> Future[T]:
    """Run a blocking call on a thread."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(call(*args))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result
