"""`journal.lmdb` and `store.lmdb`: an LMDB environment, as a service."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from journal.errors import JournalError
from runtime.config.problems import ConfigurationError, Problem
from runtime.config.registry import Registry
from runtime.errors import Kind, PerdureError
from supervision.service import OnExit, OnTrouble


class _Opened(Protocol):
    @property
    def busy(self) -> bool: ...

    @property
    def trouble(self) -> JournalError | None: ...

    def watch(self, on_gone: Callable[[JournalError], None], on_trouble: OnTrouble) -> None: ...

    def close(self) -> None: ...


OpenedT = TypeVar("OpenedT", bound=_Opened)


class LmdbService(Generic[OpenedT]):
    """Holds an environment open while it runs.

    It is in trouble while its disk is full or fails, and has failed when nothing more can be
    written before it is opened anew.

    Args:
        path: its folder.
        opens: opens what is in a folder; raises JournalError.
    """

    def __init__(self, service_id: str, path: str, opens: Callable[[str], OpenedT]) -> None:
        self.id = service_id
        self.path = path
        self._opens = opens
        self._opened: OpenedT | None = None
        self._broken = False
        self._on_exit: OnExit = lambda reason: None
        self._on_trouble: OnTrouble = lambda: None

    def attach(self, on_exit: OnExit) -> None:
        self._on_exit = on_exit

    def attach_trouble(self, on_trouble: OnTrouble) -> None:
        self._on_trouble = on_trouble

    def open(self) -> None:
        """Open it ahead of `start`, for a check that comes before anything runs.

        Raises PerdureError UNAVAILABLE with what to do, when another node has it for example.
        """
        if self._opened is not None:
            return
        try:
            self._opened = self._opens(self.path)
        except JournalError as error:
            raise PerdureError(Kind.UNAVAILABLE, f"{self.id}: {error}") from error

    def start(self) -> None:
        if self._broken:
            self.stop()
        self.open()
        on_exit = self._on_exit

        def gone(error: JournalError) -> None:
            self._broken = True
            on_exit(PerdureError(Kind.UNAVAILABLE, f"{self.id}: {error}", True))

        self.opened().watch(gone, self._on_trouble)

    def stop(self) -> None:
        opened, self._opened, self._broken = self._opened, None, False
        if opened is not None:
            opened.close()

    @property
    def trouble(self) -> PerdureError | None:
        """Why nothing can be written at the moment; see `Troubled`."""
        error = self._opened.trouble if self._opened is not None else None
        return (
            None if error is None else PerdureError(Kind.UNAVAILABLE, f"{self.id}: {error}", True)
        )

    @property
    def busy(self) -> bool:
        """Whether something is on its way to the disk."""
        return self._opened is not None and self._opened.busy

    def opened(self) -> OpenedT:
        """What it holds. Raises PerdureError UNAVAILABLE when the service does not run."""
        if self._opened is None:
            raise PerdureError(Kind.UNAVAILABLE, f"{self.id} is not running")
        return self._opened


def open_all(services: Iterable[LmdbService[Any]], registry: Registry) -> None:
    """Open environments ahead of their starts: all of them, or none.

    Raises ConfigurationError with all that cannot be opened.
    """
    opened: list[LmdbService[Any]] = []
    problems = []
    for service in services:
        try:
            service.open()
            opened.append(service)
        except PerdureError as error:
            entry = registry.get(service.id)
            problems.append(Problem(entry.file, entry.line, entry.id, error.message))
    if problems:
        for service in opened:
            service.stop()
        raise ConfigurationError(problems)
