"""The supervisor: starts services in order, keeps them running by their policy, stops them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from hosts.timers import Timers
from runtime.backoff import Rng
from supervision.actor import SupervisorActor
from supervision.conductor import OnTransition
from supervision.messages import (
    Asked,
    Change,
    Goal,
    Look,
    Request,
    ServiceStatus,
    Supervised,
)
from supervision.service import Service, ServiceSpec

#: Called with the status of a service whenever its state has changed.
Progress = Callable[[ServiceStatus], None]


class Supervisor:
    """Supervises a tree of services, each with its spec; a spec with a `family` is a supervisor.

    All methods may be called from any thread but one on which a service's `start` or `stop`
    runs; those that change something come back when the services concerned have settled:
    running, failed (they are tried again), down, or held until what they require runs.

    Args:
        supervisor_id: of the root; it is no service.
        services: in any order.
        timers: where it waits; on their clock it measures.
        rng: for the jitter of restarts.
        on_transition: called for each transition of a service, on the supervisor's thread, which it
            must not hold up, with a map of `id`, `kind`, `supervisor` (id, or ""), `from` and `to`
            (states), `at` (ns since the epoch), `restarts`, `error` (PerdureError or None),
            `next_attempt` (ns from then, or None) and `reason` (why it exited, or "").

    Raises PerdureError INVALID when a service requires one that is not there, has two supervisors,
    or waits for itself by way of others.
    """

    def __init__(
        self,
        supervisor_id: str,
        services: Iterable[Supervised],
        timers: Timers,
        rng: Rng = random.random,
        on_transition: OnTransition | None = None,
    ) -> None:
        self.id = supervisor_id

        self._actor = SupervisorActor(supervisor_id, services, timers, rng, on_transition)
        self._actor.launch()

    def start_all(self, progress: Progress | None = None) -> list[ServiceStatus]:
        """Start what is `auto_start`, and what that requires; the status of the former."""
        return self._ask(Request(goal=Goal.UP, id=None), progress)

    def stop_all(self, progress: Progress | None = None) -> list[str]:
        """Stop everything; ids of what did not stop in time, which may be still at work."""
        stopped = self._ask(Request(goal=Goal.DOWN, id=None), progress)
        return [each.id for each in stopped if each.hung]

    def start_child(self, service_id: str) -> ServiceStatus:
        """Start a service, and what it requires. One that has failed is tried at once."""
        return self._ask(Request(goal=Goal.UP, id=service_id))[0]

    def stop_child(self, service_id: str) -> ServiceStatus:
        """Stop a service, after what requires it."""
        return self._ask(Request(goal=Goal.DOWN, id=service_id))[0]

    def restart_child(self, service_id: str) -> ServiceStatus:
        """Stop a service, after what requires it, and start them again."""
        return self._ask(Request(goal=Goal.RESTART, id=service_id))[0]

    def add(self, spec: ServiceSpec, service: Service | None = None) -> list[ServiceStatus]:
        """Put a service in, or in the place of the one with its id. See `change`."""
        return self.change([(spec, service)])

    def remove(self, service_id: str) -> list[ServiceStatus]:
        """Take a service out. See `change`."""
        return self.change(drop=[service_id])

    def change(
        self, put: Sequence[Supervised] = (), drop: Iterable[str] = ()
    ) -> list[ServiceStatus]:
        """Put services in, in the place of those with their ids, and take others out; all at once.

        What is replaced or taken out is stopped first, after what requires it. What was up is
        started again, or held where it cannot be; new services start as `auto_start` or their
        supervisor says. A supervisor with another family goes on: its new children join it, those
        it no longer names are left to the root. What is taken out of a running tree leaves none of
        the state that `status` tells.

        Gives the status of what was put in or started again. Raises PerdureError NOT_FOUND for an
        id to drop that is not there, INVALID as the constructor does, UNAVAILABLE when everything
        is stopped meanwhile; nothing is changed then.
        """
        return self._ask(Change(put=tuple(put), drop=frozenset(drop)))

    def status(self) -> list[ServiceStatus]:
        """Every service as it is now; each supervisor before its children, from left to right."""
        return self._ask(Look())

    def close(self) -> None:
        """End the supervisor itself, and leave its services as they are. Ends once; for good."""
        self._actor.actor_ref.stop()

    def _ask(self, message: Asked, progress: Progress | None = None) -> list[ServiceStatus]:
        self._actor.ask(message)
        for change in iter(message.changes.get, None):
            if progress is not None:
                progress(change)
        return message.done.result()
