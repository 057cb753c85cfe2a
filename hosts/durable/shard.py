"""A shard of the workflow host: one VM worker with the runs whose workflow ids fall to it.

Theory of operation. Everything that happens to a run comes to its shard's inbox: start requests,
signals, results of activities, due timers, answers. A turn takes all that is there, writes it as
input records into the runs it is for (`touch`), lets the machine step every touched run in one
crossing, and makes one unit per run for the journal: the input records, the step record and the
records of the commands that the step gave, with all index rows that follow from them. So a step is
atomic, a result is on disk together with what the run made of it, and a round trip costs one
commit. The units of a turn leave together (flights.py). When they are on disk (`_committed`, back
on this thread) acknowledgements go out and commands are performed: nothing is seen outside before.

The shard never waits for the disk: the next turn works on state that is ahead of it. What becomes
of that when a commit fails is in losses.py.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

from hosts import attributes
from hosts.deployed import Deployed
from hosts.durable import history, records
from hosts.durable.activities import Activities
from hosts.durable.arrivals import Arrivals
from hosts.durable.beginnings import Beginnings
from hosts.durable.cache import Cache
from hosts.durable.chain import Chain
from hosts.durable.code import Code
from hosts.durable.deadlines import Deadlines
from hosts.durable.endings import Endings
from hosts.durable.execution import Execution
from hosts.durable.flights import Flight, Flights
from hosts.durable.inline import InlineFunctions
from hosts.durable.limit import PayloadLimit
from hosts.durable.losses import Losses
from hosts.durable.migration import Migration
from hosts.durable.outbox import Outbox
from hosts.durable.poison import Poison
from hosts.durable.records import Record
from hosts.durable.resumption import Resumption
from hosts.durable.runs import Runs
from hosts.durable.starts import Starts
from hosts.points import STEP_AFTER, STEP_BEFORE
from hosts.vm_worker import Item, VmWorker
from journal import faults
from journal.errors import JournalError
from journal.journal import Journal
from journal.unit import Unit
from runtime import commands as c
from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError
from runtime.inputs import ReplyTo
from runtime.lua.machine import MACHINE_VERSION, Definition, Machine, OutOfMemoryError
from runtime.routing.router import Router

logger = logging.getLogger(__name__)

EFFECT_BEFORE: Final = faults.declare("host.effect.before")
EFFECT_AFTER: Final = faults.declare("host.effect.after")
ACK_BEFORE: Final = faults.declare("host.ack.before")
ACK_AFTER: Final = faults.declare("host.ack.after")

#: Requests and inputs that are taken before runs are stepped: so many runs may come to be in memory
#: at once.
_TOGETHER: Final = 500


class Parts(NamedTuple):
    """What a shard shares with its host."""

    host_id: str
    task_queue: str
    journal: Journal
    router: Router
    deployed: Deployed
    #: bytes of live runs that a shard keeps in memory
    cache: int
    payload_limit: PayloadLimit


class Shard(VmWorker):
    """Owns runs; every method but `post` runs on its thread."""

    def __init__(
        self,
        name: str,
        parts: Parts,
        make_machine: Callable[[], Machine],
        make_activities: Callable[[Shard], Activities],
        make_inline: Callable[[Shard], InlineFunctions],
        deadlines: Deadlines,
    ) -> None:
        super().__init__(name)
        self.parts = parts
        self.journal = parts.journal
        self._make_machine = make_machine
        self.machine = make_machine()
        self.activities = make_activities(self)
        self.inline = make_inline(self)
        self.poison = Poison(self)
        self.deadlines = deadlines
        self.outbox = Outbox(self)
        self.runs = Runs(self)
        self.code = Code(self)
        self.migration = Migration(self)
        self.starts = Starts(self)
        self.arrivals = Arrivals(self)
        self.endings = Endings(self)
        self.resumption = Resumption(self)
        self.beginnings = Beginnings(self)
        self.chain = Chain(self)
        self.cache = Cache(self, parts.cache)
        #: Runs that `started`, and that ended, by status.
        self.tally: Counter[str] = Counter()
        self.flights = Flights(self.journal, self.post, self._settle)
        self.losses = Losses(self)
        self._touched: dict[int, Execution] = {}
        self._performers: dict[type[c.Command], Callable[[Execution, Any], None]] = {
            c.Call: self.activities.call,
            c.CancelCall: self.activities.cancel_call,
            c.StartTimer: self._start_timer,
            c.Send: self.outbox.perform,
            c.Spawn: self.outbox.perform,
            c.Control: self.outbox.perform,
            c.Name: self.outbox.perform,
            c.Ask: self.outbox.perform,
            c.Log: self.outbox.log,
            c.Tell: self.outbox.tell,
        }

    # The turn -------------------------------------------------------------------------------------

    def turn(self, items: list[Item]) -> bool:
        more = not items
        if self.flights.losses != self.journal.losses:
            # What was lost is dealt with first, so that what comes in now rests on none of it.
            self.flights.settle_all()
            self.flights.losses = self.journal.losses
        for start in range(0, len(items) or 1, _TOGETHER):
            for item in items[start : start + _TOGETHER]:
                assert callable(item)
                try:
                    item()
                except Exception:
                    # A request that breaks us must not take those beside it along.
                    logger.exception("%s: cannot handle %r", self.name, item)
            more = self._go_on(more)
            if self.cache.full:
                self.flights.settle_all()
                more = self._go_on(more)
                self.cache.trim()
        return more

    def _go_on(self, more: bool) -> bool:
        """Step what was touched until all wait; true when a function is busy."""
        while self._touched or self.inline.inputs or more:
            touched = self._take_touched()
            more = self.advance(touched)
            if more and not self._touched:
                # Look at the inbox between the slices of a function.
                break
        self.flights.depart()
        return more

    def _take_touched(self) -> list[Execution]:
        """What is to be stepped now, on the code of now."""
        touched, self._touched = list(self._touched.values()), {}
        if [execution for execution in touched if execution.stale]:
            touched = [self.runs.current(execution) for execution in touched]
            # Waiting for the disk may have cost runs, when it would not take them.
            touched = [execution for execution in touched if self.runs.holds(execution)]
            for execution in touched:
                self.let_be(execution)
        return touched

    def redefine(
        self, changed: Mapping[str, Definition], gone: Sequence[str], reply: ReplyTo
    ) -> None:
        """Run what starts from now on by new definitions, and answer; from any thread."""
        self.post(partial(self._redefine, changed, gone, reply))

    def _redefine(
        self, changed: Mapping[str, Definition], gone: Sequence[str], reply: ReplyTo
    ) -> None:
        self.machine.define(changed, gone)
        self.runs.redeployed()
        self.parts.router.answer(reply)

    def request(self, reply: ReplyTo | None, handle: Callable[..., None], *args: Any) -> None:
        """Handle what somebody may wait for; where that fails they hear of it."""
        try:
            handle(*args)
        except PerdureError as error:
            self.parts.router.refuse(reply, error)
        except Exception as error:
            logger.exception("%s: cannot handle a request", self.name)
            text = f"{self.parts.host_id}: {error or type(error).__name__}"
            self.parts.router.refuse(reply, PerdureError(Kind.INTERNAL, text))

    def on_stop(self) -> None:
        """Hear of all that is on its way to the disk, before the inbox is closed."""
        with suppress(JournalError):  # it is closed
            self.poison.close()
            self.flights.wait()

    def left_over(self, items: list[Item]) -> None:
        """The host has stopped: who waits for an answer of it hears that."""
        router = self.parts.router
        stopped = PerdureError(Kind.UNAVAILABLE, f"{self.parts.host_id} was stopped", True)
        for item in items:
            if isinstance(item, partial) and item.func == self.request:
                router.refuse(item.args[0], stopped)
        for flight, error in self.flights.left_over():
            for reply, value in flight.acks:
                if error is None:
                    router.answer(reply, value)
                else:
                    router.refuse(reply, stopped)
        self.endings.refuse(stopped)
        self.starts.refuse(stopped)

    def touch(self, execution: Execution, record: Record, ack: ReplyTo | None = None) -> None:
        """Give a run an input, if it still expects it; `ack` hears true once it is on disk."""
        if execution.expects(record):
            self.give(execution, record)
            if ack is not None:
                execution.acks.append((ack, encode(True)))

    def give(self, execution: Execution, record: Record) -> None:
        """Give a run an input that it expects."""
        execution.take(record)
        self._touched[execution.run] = execution

    def wake(self, execution: Execution) -> None:
        """Step a run in this turn."""
        self._touched[execution.run] = execution

    def let_be(self, execution: Execution) -> None:
        """Do not step a run in this turn after all."""
        self._touched.pop(execution.run, None)

    def advance(self, touched: list[Execution]) -> bool:
        """Step runs and functions once; whether a function has more to run."""
        faults.point(STEP_BEFORE)
        wall = self.deadlines.wall()
        batch = self.inline.take()
        given_by: dict[Any, list[c.Command]] = {}
        for execution in touched:
            # On replay, too, the inputs of a step are part of the history before it.
            execution.count(execution.fresh)
            given_by[execution.pid] = []
            if not execution.dormant:
                if wall > execution.now:
                    execution.now = wall
                batch.append(history.live_step(execution))
        try:
            more, commands = self.machine.step(batch)
        except OutOfMemoryError as error:
            self.losses.vm(error)
            return False
        faults.point(STEP_AFTER)
        by_functions: list[c.Command] = []
        for command in commands:
            given_by.get(command[0], by_functions).append(command)
        for execution in touched:
            try:
                self._write(execution, given_by[execution.pid])
            except Exception as error:
                self.losses.step(execution, error)
        self.inline.perform(by_functions)
        return more

    def _write(self, execution: Execution, commands: list[c.Command]) -> None:
        """Hand the step of one run to the journal."""
        run, fresh, unit = execution.run, execution.fresh, execution.unit
        starting = execution.starting
        row = None if starting else execution.row
        page: list[Record] = list(fresh)
        if commands and type(commands[-1]) is c.Ended:
            problem = self.endings.parked_by(execution, commands[-1])
            if problem is not None:
                # The step is as if it had not been: code that does better gets the same inputs.
                self.runs.park(execution, problem, unit)
                execution.effects.append(self.migration.after_parking(run))
        effects = execution.effects
        if starting:
            self.beginnings.index(execution, unit)
            if execution.timers:
                effects.append(partial(self.beginnings.arm, execution))
        if execution.dormant:
            commands = []
            execution.waiting += fresh
            if execution.suspended:
                unit.put_ready(run)
        else:
            consumed = fresh
            if execution.waiting:
                unit.del_ready(run)
                consumed = [*execution.waiting, *fresh]
                execution.waiting = []
            page.append(["step", execution.now, len(consumed), MACHINE_VERSION])
            for command in commands:
                issued = records.issued_by(command)
                if issued is not None:
                    page.append(issued)
                    execution.issue(issued, unit)
                    if isinstance(command, c.Attributes):
                        self._set_attributes(execution, command, unit)
                elif isinstance(command, (c.Ended, c.Upgrade)):
                    effects += self.endings.end(execution, command, unit, page, consumed)
        if execution.row is not row:
            unit.put_run(run, execution.row)
        execution.mark(unit)
        execution.count(page[len(fresh) :])
        if page:
            unit.append(run, page)
        flight = Flight(run, execution.acks, effects, fresh, execution, commands)
        execution.taken()
        self.flights.add(unit, flight)
        execution.used = self.flights.sent

    def _set_attributes(self, execution: Execution, command: c.Attributes, unit: Unit) -> None:
        """Search attributes and memo go into the run's row, and the index."""
        given = (None if each is None else decode(each) for each in command[1:])
        before = attributes.search_of(execution.row)
        extra = attributes.extra_with(execution.row.extra, *given)
        execution.row = execution.row._replace(extra=extra)
        attributes.index(execution.run, before, attributes.search_of(execution.row), unit)

    def submit(self, unit: Unit, flight: Flight | None = None) -> None:
        """Hand a unit to the journal; what it owes is done on this thread after the commit."""
        flight = flight or Flight()
        self.flights.add(unit, flight)
        if flight.run:
            self.runs.used(flight.run, self.flights.sent)

    def submit_then(
        self, unit: Unit, run: int, effect: Callable[[], None], lost: Callable[[], None]
    ) -> None:
        """Hand a unit to the journal, and do something once it is on disk; see `Flight`."""
        self.submit(unit, Flight(run, effects=[effect], lost=lost))

    def _settle(self, flight: Flight, error: Exception | None) -> None:
        if error is None:
            self._committed(flight)
        else:
            self.losses.lost(flight, error)

    def new_machine(self) -> None:
        """Another machine takes the place of one that was lost; there is nothing in it."""
        self.machine = self._make_machine()
        self.code.new_machine()
        self.cache.new_machine()

    # Effects --------------------------------------------------------------------------------------

    def _committed(self, flight: Flight) -> None:
        """A unit is on disk: do what it owes."""
        faults.point(ACK_BEFORE)
        for reply, value in flight.acks:
            self.parts.router.answer(reply, value)
            faults.point(ACK_AFTER)
        execution = flight.execution
        if execution is not None:
            for command in flight.commands:
                perform = self._performers.get(type(command))
                if perform is not None and execution.wants(command):
                    self._perform(perform, execution, command)
        for effect in flight.effects:
            self._perform(effect)

    def _perform(self, effect: Callable[..., object], *args: Any) -> None:
        faults.point(EFFECT_BEFORE)
        try:
            effect(*args)
        except Exception:
            logger.exception("%s: cannot perform %r", self.name, (effect, args))
        faults.point(EFFECT_AFTER)

    def _start_timer(self, execution: Execution, command: c.StartTimer) -> None:
        due = execution.timers.get(command.seq)
        if due is not None:
            self.deadlines.add(due, execution.run, command.seq, self)
