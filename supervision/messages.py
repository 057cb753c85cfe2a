"""Everything that can arrive in a supervisor's inbox, and the status that it tells."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from queue import SimpleQueue
from typing import TYPE_CHECKING, Literal

from runtime.errors import PerdureError
from supervision.service import Service, ServiceSpec
from supervision.state import State

if TYPE_CHECKING:
    from supervision.child import Child

#: The two calls into a service that may block.
Verb = Literal["start", "stop"]

#: How a service is supervised, and the service; None for a supervisor.
Supervised = tuple[ServiceSpec, Service | None]


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
    #: Id of its supervisor, "" for a child of the root.
    supervisor: str
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
class _Answered:
    """Who asks hears of every change of state on the way, and of the end."""

    #: Gets a status at every change of state, and None at the end.
    changes: SimpleQueue[ServiceStatus | None] = field(default_factory=SimpleQueue)
    #: The status of every service concerned, once they have settled.
    done: Future[list[ServiceStatus]] = field(default_factory=Future)

    def succeed(self, statuses: list[ServiceStatus]) -> None:
        self.done.set_result(statuses)
        self.changes.put(None)

    def fail(self, error: BaseException) -> None:
        with suppress(InvalidStateError):  # it was answered before
            self.done.set_exception(error)
        self.changes.put(None)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Request(_Answered):
    """Bring a service, or all of them, to `goal`."""

    goal: Goal
    id: str | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Change(_Answered):
    """Take services out, and put others in: new ones, or in the place of those with their ids."""

    put: Sequence[Supervised]
    drop: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Look(_Answered):
    """Answered at once: every service, each supervisor before its children."""


@dataclass(frozen=True, slots=True)
class Returned:
    """A call into a service came back, with an error if it raised."""

    child: Child
    verb: Verb
    error: PerdureError | None


@dataclass(frozen=True, slots=True)
class Exited:
    """Run number `run` of a service ended by itself."""

    child: Child
    run: int
    reason: PerdureError | None


@dataclass(frozen=True, slots=True)
class Troubling:
    """The trouble of a service that runs has come or gone."""

    child: Child


@dataclass(frozen=True, slots=True)
class Due:
    """Deadline number `number` of a service has come."""

    child: Child
    number: int


#: What is asked, and answered.
Asked = Request | Change | Look
#: What a service, or a deadline of it, tells.
Report = Returned | Exited | Troubling | Due
