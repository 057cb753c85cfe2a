"""A supervisor: starts services in order, keeps them running by their policy, stops them.

It is itself a `Service`, so that one supervisor can have another as a child.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Iterable
from typing import Any, cast

import pykka

from hosts.timers import Timers
from runtime.backoff import Rng
from runtime.errors import Kind, PerdureError
from runtime.graph import levels
from supervision.actor import SupervisorActor
from supervision.messages import Goal, Request, ServiceStatus, StatusRequest
from supervision.service import OnExit, Service, ServiceSpec

#: Called with the status of a service whenever its state has changed.
Progress = Callable[[ServiceStatus], None]


class Supervisor:
    """Supervises `services`, each with its spec.

    All methods may be called from any thread but one on which a service's `start` or `stop`
    runs; those that change something come back when the services concerned have settled:
    running, failed (they are tried again), down, or held until what they require runs.

    Args:
        supervisor_id: its own id as a service.
        services: in any order.
        timers: where it waits; on their clock it measures.
        rng: for the jitter of restarts.

    Raises PerdureError INVALID when a service requires one that is not there, or itself by way
    of others.
    """

    def __init__(
        self,
        supervisor_id: str,
        services: Iterable[tuple[ServiceSpec, Service]],
        timers: Timers,
        rng: Rng = random.random,
    ) -> None:
        self.id = supervisor_id
        by_id = {spec.id: (spec, service) for spec, service in services}
        self._ids = _in_order([spec for spec, _ in by_id.values()])
        self._actor = SupervisorActor.start([by_id[each] for each in self._ids], timers, rng)

    def start_all(self, progress: Progress | None = None) -> list[ServiceStatus]:
        """Start what is `auto_start`, and what that requires; the status of the former."""
        return self._request(Goal.UP, None, progress)

    def stop_all(self, progress: Progress | None = None) -> list[str]:
        """Stop everything; ids of what did not stop in time, which may be still at work."""
        return [each.id for each in self._request(Goal.DOWN, None, progress) if each.hung]

    def start_child(self, service_id: str) -> ServiceStatus:
        """Start a service, and what it requires. One that has failed is tried at once."""
        return self._request(Goal.UP, service_id)[0]

    def stop_child(self, service_id: str) -> ServiceStatus:
        """Stop a service, after what requires it."""
        return self._request(Goal.DOWN, service_id)[0]

    def restart_child(self, service_id: str) -> ServiceStatus:
        """Stop a service, after what requires it, and start them again."""
        return self._request(Goal.RESTART, service_id)[0]

    def status(self) -> list[ServiceStatus]:
        """Every service as it is now, dependencies first."""
        return cast(list[ServiceStatus], self._ask(StatusRequest()))

    def close(self) -> None:
        """End the supervisor itself, and leave its services as they are. Ends once; for good."""
        self._actor.stop()

    # As a service

    def attach(self, on_exit: OnExit) -> None:
        """A supervisor does not end by itself: `on_exit` is never called."""

    def start(self) -> None:
        """`start_all`; a service that does not come up is this supervisor's to try again."""
        self.start_all()

    def stop(self) -> None:
        """`stop_all`; raises PerdureError TIMEOUT naming what did not stop in time."""
        if hung := self.stop_all():
            raise PerdureError(Kind.TIMEOUT, f"{', '.join(hung)} did not stop in time")

    def _request(
        self, goal: Goal, service_id: str | None, progress: Progress | None = None
    ) -> list[ServiceStatus]:
        if service_id is not None and service_id not in self._ids:
            near = difflib.get_close_matches(service_id, self._ids, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise PerdureError(Kind.NOT_FOUND, f'{self.id} has no service "{service_id}"{hint}')
        request = Request(goal, service_id)
        self._ask(request)
        for change in iter(request.changes.get, None):
            if progress is not None:
                progress(change)
        return request.done.result()

    def _ask(self, message: Request | StatusRequest) -> Any:
        try:
            return self._actor.ask(message)
        except pykka.ActorDeadError:
            text = f"the supervisor {self.id} is closed"
            raise PerdureError(Kind.UNAVAILABLE, text) from None


def _in_order(specs: list[ServiceSpec]) -> list[str]:
    """Ids of services, each behind what it requires."""
    graph = {spec.id: set(spec.requires) for spec in specs}
    for spec in specs:
        if absent := graph[spec.id] - graph.keys():
            text = f"{spec.id} requires {', '.join(sorted(absent))}, which is no service here"
            raise PerdureError(Kind.INVALID, text)
    try:
        return [each for level in levels(graph) for each in level]
    except ValueError as error:
        raise PerdureError(Kind.INVALID, f"services require each other: {error}") from None
