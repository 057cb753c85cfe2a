"""What can be supervised: its shape, and the plain data that says how."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from runtime.errors import PerdureError

_SECOND = 1_000_000_000

#: Tells the supervisor that a service ended by itself: None after a normal return, which is an
#: exit, or the error that it crashed with. May be called from any thread; only the first call
#: of a run counts.
OnExit = Callable[[PerdureError | None], None]


#: Tells the supervisor that the trouble of a service has come or gone. May be called from any
#: thread.
OnTrouble = Callable[[], None]


#: Told once that a start or stop is done: None, or the error that it ended with.
OnDone = Callable[[PerdureError | None], None]


class BlockingService(Protocol):
    """Anything that is started, watched and stopped.

    `start` and `stop` are called on threads of their own, so they may block. One run at a time:
    `start` is not called again before the last `start` and `stop` have come back and the
    service has ended.
    """

    @property
    def id(self) -> str:
        """Entry id, ``namespace:name``."""
        ...

    def attach(self, on_exit: OnExit) -> None:
        """Take the callback for the run that begins with the next `start`."""
        ...

    def start(self) -> None:
        """Come back when the service works, or raise having cleaned up."""
        ...

    def stop(self) -> None:
        """End the service in an orderly way and come back when it has ended.

        Also called while `start` is under way, which has then to give up, and again when that
        `start` nevertheless comes back without an error. Does nothing when nothing runs.
        """
        ...


class PromptService(ABC):
    """A service whose calls come back at once, on the supervisor's own thread.

    What they have begun is done when `done` is called, from any thread; one run at a time, as with
    `BlockingService`. It saves the changes of threads that a call on another thread costs.
    """

    id: str

    @abstractmethod
    def attach(self, on_exit: OnExit) -> None:
        """Take the callback for the run that begins with the next `begin_start`."""

    @abstractmethod
    def begin_start(self, done: OnDone) -> None:
        """Start; `done` when it works, or with an error when it does not and is cleaned up."""

    @abstractmethod
    def begin_stop(self, done: OnDone) -> None:
        """Stop in an orderly way; see `BlockingService.stop`."""


Service = BlockingService | PromptService


@runtime_checkable
class Troubled(Protocol):
    """A service that may run and yet be unable to do its work for a while, a journal on a full disk
    for example. It comes back by itself, and is shown as failed until then."""

    @property
    def trouble(self) -> PerdureError | None:
        """Why it cannot do its work now; None while all is well."""
        ...


@runtime_checkable
class Afflicted(Troubled, Protocol):
    """A service whose trouble is its own, and that of what requires it."""

    def attach_trouble(self, on_trouble: OnTrouble) -> None:
        """Take the callback for the run that begins with the next start."""
        ...


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """`lifecycle.restart` of an entry; durations are nanoseconds."""

    initial_delay: int = 1 * _SECOND
    max_delay: int = 90 * _SECOND
    backoff_factor: float = 2.0
    jitter: float = 0.1
    #: Restarts in a row that are tried before the service is given up; 0 is no limit.
    max_attempts: int = 0


class Strategy(StrEnum):
    """Who is started again when a child of a supervisor has crashed."""

    ONE_FOR_ONE = "one_for_one"
    """The child."""
    ONE_FOR_ALL = "one_for_all"
    """All children."""
    REST_FOR_ONE = "rest_for_one"
    """The child, and those to its right."""


@dataclass(frozen=True, slots=True)
class Family:
    """The children of a supervisor, and what becomes of them when one crashes."""

    #: Ids, from left to right: the order of starts, and the reverse of that of stops.
    children: tuple[str, ...]
    strategy: Strategy = Strategy.ONE_FOR_ONE
    #: More crashes than this within `period` nanoseconds, and the supervisor itself has failed.
    restarts: int = 3
    period: int = 5 * _SECOND


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """How one service is supervised: `lifecycle` of its entry; durations are nanoseconds.

    A supervisor (one with a `family`) has no code of its own, and no time-outs: its start and stop
    are those of its children. These start and stop with it, whatever their `auto_start`.
    """

    id: str
    kind: str = ""
    auto_start: bool = False
    start_timeout: int = 10 * _SECOND
    stop_timeout: int = 10 * _SECOND
    #: A run that lasted longer counts as a success: the next failure is a first one.
    stable_threshold: int = 5 * _SECOND
    #: Ids of the services that have to run before this one starts.
    requires: tuple[str, ...] = ()
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    #: What it supervises; None for a service that has code of its own.
    family: Family | None = None
