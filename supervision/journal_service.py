"""`journal.lmdb`: the journal of workflow hosts, as a service."""

from __future__ import annotations

from journal.errors import JournalError
from journal.journal import Journal
from runtime.errors import Kind, PerdureError
from supervision.service import OnExit


class JournalService:
    """Holds the journal open while it runs."""

    def __init__(self, service_id: str, path: str) -> None:
        self.id = service_id
        self.path = path
        self._journal: Journal | None = None

    def attach(self, on_exit: OnExit) -> None:
        """A journal does not end by itself."""

    def open(self) -> None:
        """Open it ahead of `start`, for a check that comes before anything runs.

        Raises PerdureError INVALID or UNAVAILABLE (another node has it) with what to do.
        """
        if self._journal is not None:
            return
        try:
            self._journal = Journal.open(self.path)
        except JournalError as error:
            raise PerdureError(Kind.UNAVAILABLE, f"{self.id}: {error}") from error

    def start(self) -> None:
        self.open()

    def stop(self) -> None:
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()

    def journal(self) -> Journal:
        """The open journal. Raises PerdureError UNAVAILABLE when the service does not run."""
        if self._journal is None:
            raise PerdureError(Kind.UNAVAILABLE, f"{self.id} is not running")
        return self._journal
