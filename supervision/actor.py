"""The actor of a supervisor: one inbox, and so no locks."""

from __future__ import annotations

from collections.abc import Iterable

from hosts.draining_actor import DrainingActor
from hosts.timers import Timers
from runtime.backoff import Rng
from runtime.errors import Kind, PerdureError
from supervision.callers import Callers
from supervision.conductor import Conductor, OnTransition
from supervision.messages import Asked, Change, Look, Report, Request, Supervised

Message = Asked | Report


class SupervisorActor(DrainingActor[Message]):
    """Hands each message to a `Conductor`."""

    def __init__(
        self,
        supervisor_id: str,
        services: Iterable[Supervised],
        timers: Timers,
        rng: Rng,
        on_transition: OnTransition | None,
    ) -> None:
        super().__init__(f"the supervisor {supervisor_id}")
        self._callers = Callers()
        self._conductor = Conductor(
            supervisor_id, services, timers, rng, self.post, self._callers.run, on_transition
        )

    def ask(self, message: Asked) -> None:
        """Put in what is to be answered; it is, even when the actor has stopped meanwhile."""
        self.post(message)
        if self.actor_stopped.is_set():
            self.left_over([message])

    def turn(self, items: list[Message]) -> bool:
        for item in items:
            self._conductor.handle(item)
        return False

    def on_stop(self) -> None:
        self._callers.close()
        self._conductor.close(self._closed())

    def left_over(self, items: list[Message]) -> None:
        for item in items:
            if isinstance(item, (Request, Change, Look)):
                item.fail(self._closed())

    def _closed(self) -> PerdureError:
        return PerdureError(Kind.UNAVAILABLE, f"{self.name} is closed")
