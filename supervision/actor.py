"""The actor behind a `Supervisor`: one inbox, and so no locks.

Requests, exits, calls that come back and deadlines are all messages. Each changes what is known
of one service or what is wanted of some, and after each, `_reconcile` begins every start and
stop that has become possible. Order follows from that alone: a start waits until what it
requires is available, a stop until nothing active requires the service, and what waits for
nothing goes in parallel.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pykka

from hosts.timers import Timers
from runtime.backoff import Rng
from runtime.errors import Kind, PerdureError
from supervision.child import Child
from supervision.messages import (
    Due,
    Exited,
    Goal,
    Report,
    Request,
    Returned,
    ServiceStatus,
    StatusRequest,
)
from supervision.service import Service, ServiceSpec
from supervision.state import ACTIVE, State

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Pending:
    request: Request
    children: list[Child]
    unsettled: list[Child]


class SupervisorActor(pykka.ThreadingActor):
    """Supervises `services`, which come with what they require first."""

    use_daemon_thread = True

    def __init__(
        self, services: Iterable[tuple[ServiceSpec, Service]], timers: Timers, rng: Rng
    ) -> None:
        super().__init__()
        self._children: dict[str, Child] = {
            spec.id: Child(spec, service, timers, rng, self._post, self._changed)
            for spec, service in services
        }
        self._pending: list[_Pending] = []

    def on_receive(self, message: Any) -> Any:
        try:
            if isinstance(message, StatusRequest):
                return [self._status(child) for child in self._children.values()]
            self._handle(message)
            self._reconcile()
            self._answer()
        except Exception as error:
            # A fault of ours: the other services still need their supervisor.
            logger.exception("the supervisor could not handle %r", message)
            if isinstance(message, Request):
                self._pending = [each for each in self._pending if each.request is not message]
                message.fail(error)
        return None

    def on_stop(self) -> None:
        for pending in self._pending:
            pending.request.fail(PerdureError(Kind.UNAVAILABLE, "the supervisor was closed"))

    def _handle(self, message: Request | Report) -> None:
        match message:
            case Request():
                children = self._aim(message)
                self._pending.append(_Pending(message, children, list(children)))
            case Returned():
                self._children[message.id].on_returned(message.verb, message.error)
            case Exited():
                self._children[message.id].on_exited(message)
            case Due():
                self._children[message.id].on_due(message.number)

    def _aim(self, request: Request) -> list[Child]:
        """Set the goals that a request implies; gives the services whose settling ends it."""
        if request.id is None:
            chosen = list(self._children.values())
            if request.goal is Goal.UP:
                chosen = [child for child in chosen if child.spec.auto_start]
        else:
            chosen = [self._children[request.id]]
            if request.goal is not Goal.UP:
                chosen += self._dependents(chosen[0])
            if request.goal is not Goal.DOWN:
                chosen[0].forgive()
        match request.goal:
            case Goal.UP:
                for child in chosen:
                    self._want(child)
            case Goal.DOWN:
                for child in chosen:
                    child.goal = Goal.DOWN
            case Goal.RESTART:
                self._want(chosen[0])
                for child in chosen:
                    if child.goal is Goal.UP and child.state in ACTIVE:
                        child.goal = Goal.RESTART
        return chosen

    def _want(self, child: Child) -> None:
        """Want `child` up, and what it requires; what has exited was not asked for again."""
        if child.goal is Goal.DOWN:
            child.goal = Goal.UP
        for required in self._required(child):
            if required.goal is Goal.DOWN and required.state is not State.EXITED:
                self._want(required)

    def _reconcile(self) -> None:
        for child in self._children.values():
            if child.startable and not self._unavailable(child):
                child.start()
        for child in reversed(self._children.values()):
            if child.stoppable and not self._leaning(child):
                child.stop()

    def _answer(self) -> None:
        for pending in self._pending[:]:
            pending.unsettled = [each for each in pending.unsettled if not self._settled(each)]
            if not pending.unsettled:
                self._pending.remove(pending)
                pending.request.done.set_result([self._status(each) for each in pending.children])
                pending.request.changes.put(None)

    def _settled(self, child: Child) -> bool:
        """It is where it was wanted, has failed at it, or waits for what has failed."""
        if child.goal is Goal.RESTART or child.state in (State.STARTING, State.STOPPING):
            return False
        if child.goal is Goal.DOWN:
            return not child.stoppable
        if child.startable and child.state is not State.FAILED:
            return all(self._settled(each) for each in self._unavailable(child))
        return True

    def _required(self, child: Child) -> list[Child]:
        return [self._children[each] for each in child.spec.requires]

    def _unavailable(self, child: Child) -> list[Child]:
        return [each for each in self._required(child) if not each.available]

    def _leaning(self, child: Child) -> list[Child]:
        """What requires `child` directly, and is active."""
        active = (each for each in self._children.values() if each.state in ACTIVE)
        return [each for each in active if child.spec.id in each.spec.requires]

    def _dependents(self, child: Child) -> list[Child]:
        """What requires `child`, directly or not."""
        found = {child.spec.id: child}
        for each in self._children.values():
            if not found.keys().isdisjoint(each.spec.requires):
                found[each.spec.id] = each
        return list(found.values())[1:]

    def _status(self, child: Child) -> ServiceStatus:
        held = self._unavailable(child) if child.startable else []
        return child.status(tuple(each.spec.id for each in held))

    def _changed(self, child: Child) -> None:
        for pending in self._pending:
            # Who starts everything wants to hear of what that requires too.
            if pending.request.id is None or child in pending.children:
                pending.request.changes.put(self._status(child))

    def _post(self, message: Report) -> None:
        """Put a message to the own inbox, from any thread; a closed supervisor hears nothing."""
        try:
            self.actor_ref.tell(message)
        except pykka.ActorDeadError:
            logger.debug("after the supervisor was closed: %r", message)
