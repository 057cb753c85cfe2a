"""Units on their way to the disk, and what each owes once it is there.

Those of a turn go to the journal together, as one unit: what the step of one run costs the writer,
the answer and the shard's inbox is shared by all. They are told apart again when they have arrived,
in the order in which they left.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from queue import SimpleQueue
from typing import Final, NamedTuple

from hosts.durable.execution import Execution
from hosts.durable.records import Record
from journal.errors import JournalError
from journal.journal import Journal
from journal.unit import Unit
from runtime.commands import Command
from runtime.inputs import ReplyTo

#: Flights that go together at most, so that the writer works while the shard makes the next ones.
TOGETHER: Final = 64


class Flight(NamedTuple):
    """What a submitted unit owes once it is on disk.

    Attributes:
        run: the run that it is about, 0 for none.
        effects: what to do, after the commands.
        inputs: its input records.
        execution, commands: a run, and what its step asks for.
        lost: what is to be done a while later when it is not on disk.
    """

    run: int = 0
    acks: Sequence[tuple[ReplyTo, bytes]] = ()
    effects: Sequence[Callable[[], object]] = ()
    inputs: Sequence[Record] = ()
    execution: Execution | None = None
    commands: Sequence[Command] = ()
    lost: Callable[[], None] | None = None


class Flights:
    """The units of a shard that are on their way. Used on its thread.

    Args:
        post: brings a call to that thread.
        settle: deals with a flight that is on disk, or with the error that it met.

    Attributes:
        sent, settled: how many left, and how many were dealt with; in the same order.
        losses: see `Journal.submit`.
    """

    def __init__(
        self,
        journal: Journal,
        post: Callable[[Callable[[], None]], None],
        settle: Callable[[Flight, Exception | None], None],
    ) -> None:
        self._journal = journal
        self._post = post
        self._settle = settle
        self._unit = Unit()
        self._flights: list[Flight] = []
        self._answers: SimpleQueue[tuple[list[Flight], Exception | None]] = SimpleQueue()
        self._arrived: deque[tuple[Flight, Exception | None]] = deque()
        self.sent = self.settled = 0
        self.losses = journal.losses

    def add(self, unit: Unit, flight: Flight) -> None:
        """A unit leaves, at the end of the turn at the latest."""
        self.sent += 1
        self._unit.join(unit)
        self._flights.append(flight)
        if len(self._flights) == TOGETHER:
            self.depart()

    def depart(self) -> None:
        """Hand what has gathered to the journal."""
        if not self._flights:
            return
        unit, flights = self._unit, self._flights
        self._unit, self._flights = Unit(), []

        def done(error: Exception | None) -> None:
            self._answers.put((flights, error))
            self._post(self.settle_answered)

        try:
            self._journal.submit(unit, done, losses=self.losses)
        except JournalError as error:
            done(error)

    def settle_answered(self) -> None:
        """Deal with what the journal has answered."""
        while not self._answers.empty():
            self._deal_with(*self._answers.get())

    def settle_all(self) -> None:
        """Wait for the disk, and deal with what is there."""
        self._deal_with((), None)
        while self.settled < self.sent:
            self.depart()  # also what was sent while others were dealt with
            self._deal_with(*self._answers.get())

    def wait(self) -> None:
        """Wait for the disk, so that the journal says how the runs stand; deal with nothing."""
        self.depart()
        settled = threading.Event()
        self._journal.submit(Unit(), lambda error: settled.set())
        settled.wait()

    def left_over(self) -> Iterator[tuple[Flight, Exception | None]]:
        """What the journal has answered and nobody will deal with."""
        while not self._answers.empty():
            flights, error = self._answers.get()
            for flight in flights:
                yield flight, error

    def _deal_with(self, flights: Iterable[Flight], error: Exception | None) -> None:
        self._arrived.extend(zip(flights, repeat(error)))
        while self._arrived:
            flight, met = self._arrived.popleft()
            self.settled += 1
            self._settle(flight, met)
