"""Units on their way to the disk: who waits for all of them also waits for those that follow."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

from hosts.durable.flights import Flight, Flights
from journal.journal import Journal
from journal.unit import Unit
from tests.process_lab import PATIENCE


def test_what_is_sent_while_others_are_dealt_with_is_waited_for_too(tmp_path: Path) -> None:
    """As the next heartbeat of an activity, which waits for the one before it to be written."""
    with Journal.open(tmp_path) as journal:
        settled: list[int] = []

        def settle(flight: Flight, error: Exception | None) -> None:
            assert error is None
            settled.append(flight.run)
            if flight.run < 3:
                flights.add(Unit(), Flight(flight.run + 1))

        flights = Flights(journal, lambda call: None, settle)
        flights.add(Unit(), Flight(1))
        thread = Thread(target=flights.settle_all, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert (settled, flights.sent, flights.settled) == ([1, 2, 3], 3, 3)
