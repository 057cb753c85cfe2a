"""`journal.lmdb`: the journal of workflow hosts, as a service that also forgets what is old."""

from __future__ import annotations

from hosts.durable.retention import Retention
from hosts.timers import Timers
from journal.journal import Journal
from supervision.lmdb_service import LmdbService


class JournalService(LmdbService[Journal]):
    """Holds a journal open while it runs, and deletes ended runs after their retention.

    Args:
        retention: nanoseconds.
    """

    def __init__(self, service_id: str, path: str, timers: Timers, retention: int) -> None:
        super().__init__(service_id, path, Journal.open)
        self._timers = timers
        self._retention = retention
        self._sweeper: Retention | None = None

    def start(self) -> None:
        super().start()
        self._sweeper = Retention(self.opened(), self._timers, self._retention)
        self._sweeper.start()

    def stop(self) -> None:
        sweeper, self._sweeper = self._sweeper, None
        if sweeper is not None:
            sweeper.stop()
        super().stop()
