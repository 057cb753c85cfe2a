"""Everything that can arrive in a supervisor's inbox, and the status that it tells."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from queue import SimpleQueue
from typing import Literal

from runtime.errors import PerdureError
from supervision.state import State

#: The two calls into a service that may block.
Verb = Literal["start", "stop"]


class Goal(Enum):
    """What somebody asked for; the state follows as dependencies and policy allow."""

    UP = "up"
    DOWN = "down"
    RESTART = "restart"
    """Down, then up."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service at one moment; durations are nanoseconds."""

    id: str
    kind: str
    state: State
    #: How long it has been running; None unless it is.
    uptime: int | None
    #: Restarts after failures, since the supervisor began; those asked for do not count.
    restarts: int
    #: What it last failed with; None if it never did, or has returned normally since.
    error: PerdureError | None
    #: Time until it is tried again; None unless it has failed and waits.
    next_attempt: int | None
    #: What has to run before its start can begin.
    waiting_for: tuple[str, ...]
    #: Why it stays down, "" unless it has exited.
    exit_reason: str
    #: It was given up while a start or stop call of it had not come back.
    hung: bool


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Bring a service, or all of them, to `goal`."""

    goal: Goal
    id: str | None
    #: Gets a status at every change of state on the way, and None at the end.
    changes: SimpleQueue[ServiceStatus | None] = field(default_factory=SimpleQueue)
    #: The status of every service concerned, once they have settled.
    done: Future[list[ServiceStatus]] = field(default_factory=Future)

    def fail(self, error: BaseException) -> None:
        self.done.set_exception(error)
        self.changes.put(None)


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """Answered at once with list[ServiceStatus], dependencies first."""


@dataclass(frozen=True, slots=True)
class Returned:
    """A call into a service came back, with an error if it raised."""

    id: str
    verb: Verb
    error: PerdureError | None


@dataclass(frozen=True, slots=True)
class Exited:
    """Run number `run` of a service ended by itself."""

    id: str
    run: int
    reason: PerdureError | None


@dataclass(frozen=True, slots=True)
class Due:
    """Deadline number `number` of a service has come."""

    id: str
    number: int


Report = Returned | Exited | Due
