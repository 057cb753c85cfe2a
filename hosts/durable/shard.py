"""A shard of the workflow host: one VM worker with the runs whose workflow ids fall to it.

Theory of operation. Everything that happens to a run comes to its shard's inbox: start requests,
signals, results of activities, due timers, answers. A turn takes all that is there, writes it as
input records into the runs it is for (`touch`), lets the machine step every touched run in one
crossing, and hands one unit per run to the journal: the input records, the step record and the
records of the commands that the step gave, with all index rows that follow from them. So a step is
atomic, a result is on disk together with what the run made of it, and a round trip costs one
commit. When the commit is done (`_committed`, back on this thread) acknowledgements go out and
effects are performed: nothing is seen outside before it is on disk.

The shard never waits for the disk: the next turn works on state that is ahead of it. When a commit
fails, that state is worth nothing: every run is dropped from memory and rebuilt from the journal
when next touched (`_lost`), callers are told UNAVAILABLE, and results nobody else keeps are
applied again.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
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
from hosts.durable.flight import Flight
from hosts.durable.inline import InlineFunctions
from hosts.durable.limit import PayloadLimit
from hosts.durable.migration import Migration
from hosts.durable.outbox import Outbox
from hosts.durable.records import Record
from hosts.durable.runs import Runs
from hosts.durable.starts import Starts
from hosts.vm_worker import Item, VmWorker
from journal import faults
from journal.errors import BadRecordError, JournalError
from journal.journal import Journal
from journal.records import RunRow
from journal.unit import Unit
from runtime import commands as c
from runtime import inputs
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
STEP_BEFORE: Final = faults.declare("host.step.before")
STEP_AFTER: Final = faults.declare("host.step.after")

#: Requests and inputs that are taken before runs are stepped: so many runs may come to be in memory
#: at once.
_TOGETHER: Final = 500

#: How long inputs that could not be written wait for the journal, ns.
_RETRY_NS: Final = 1_000_000_000


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

    def option(self, entry: str, name: str) -> Any:
        """What a workflow's entry says now, None where it is gone."""
        registry = self.deployed.registry
        return registry.get(entry).data[name] if entry in registry else None


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
        self.deadlines = deadlines
        self.outbox = Outbox(self)
        self.runs = Runs(self)
        self.code = Code(self)
        self.migration = Migration(self)
        self.starts = Starts(self)
        self.arrivals = Arrivals(self)
        self.endings = Endings(self)
        self.beginnings = Beginnings(self)
        self.chain = Chain(self)
        self.cache = Cache(self, parts.cache)
        #: Runs that `started`, and that ended, by status.
        self.tally: Counter[str] = Counter()
        self._touched: dict[int, Execution] = {}
        self._losses = self.journal.losses
        #: Units handed to the journal, and those that were answered and dealt with.
        self.sent = self.settled = 0
        self._answers: SimpleQueue[tuple[Flight, Exception | None]] = SimpleQueue()

    # The turn -------------------------------------------------------------------------------------

    def turn(self, items: list[Item]) -> bool:
        more = not items
        if self._losses != self.journal.losses:
            # What was lost is dealt with first, so that what comes in now rests on none of it.
            self.settle_all()
            self._losses = self.journal.losses
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
                self.settle_all()
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
                return True
        return False

    def _take_touched(self) -> list[Execution]:
        """What is to be stepped now, on the code of now."""
        touched, self._touched = list(self._touched.values()), {}
        if any(execution.stale for execution in touched):
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
            self.settle_journal()

    def left_over(self, items: list[Item]) -> None:
        """The host has stopped: who waits for an answer of it hears that."""
        router = self.parts.router
        stopped = PerdureError(Kind.UNAVAILABLE, f"{self.parts.host_id} was stopped", True)
        for item in items:
            if isinstance(item, partial) and item.func == self.request:
                router.refuse(item.args[0], stopped)
        while not self._answers.empty():
            flight, error = self._answers.get()
            for reply, value in flight.acks:
                if error is None:
                    router.answer(reply, value)
                else:
                    router.refuse(reply, stopped)
        self.endings.refuse(stopped)

    def touch(self, execution: Execution, record: Record, ack: ReplyTo | None = None) -> None:
        """Give a run an input; `ack` hears true once it is on disk."""
        if not execution.expects(record):
            return
        execution.take(record)
        if ack is not None:
            execution.acks.append((ack, encode(True)))
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
        for execution in touched:
            # On replay, too, the inputs of a step are part of the history before it.
            execution.count(execution.fresh)
            if execution.dormant:
                continue
            execution.now = max(execution.now, wall)
            consumed = execution.waiting + execution.fresh
            given = [
                history.machine_input(execution.pid, execution.definition, record)
                for record in consumed
            ]
            batch.append(
                inputs.step(
                    execution.pid, execution.now, None, given, execution.length, execution.size
                )
            )
        try:
            more, commands = self.machine.step(batch)
        except OutOfMemoryError as error:
            self.vm_lost(error)
            return False
        faults.point(STEP_AFTER)
        given_by: dict[str, list[c.Command]] = {execution.pid: [] for execution in touched}
        by_functions: list[c.Command] = []
        for command in commands:
            given_by.get(command.pid, by_functions).append(command)
        for execution in touched:
            try:
                self._write(execution, given_by[execution.pid])
            except Exception as error:
                self._cannot_write(execution, error)
        self.inline.perform(by_functions)
        return more

    def _write(self, execution: Execution, commands: list[c.Command]) -> None:
        """Hand the step of one run to the journal."""
        run = execution.run
        fresh, acks, unit = execution.fresh, execution.acks, execution.unit
        page: list[Record] = list(fresh)
        problem = self.endings.parked_by(execution, commands)
        if problem is not None:
            # The step is as if it had not been: code that does better gets the same inputs.
            self.runs.park(execution, problem, unit)
        effects = [*self.arrivals.on_disk(fresh), *self.starts.on_disk(fresh)]
        if execution.starting:
            self.beginnings.index(execution, unit)
            effects.append(partial(self.beginnings.arm, execution))
        if execution.dormant:
            execution.waiting += fresh
            if execution.suspended:
                unit.put_ready(run)
        else:
            if execution.waiting:
                unit.del_ready(run)
            consumed = [*execution.waiting, *fresh]
            execution.waiting = []
            page.append(["step", execution.now, len(consumed), MACHINE_VERSION])
            for command in commands:
                if isinstance(command, (c.Ended, c.Upgrade)):
                    effects += self.endings.end(execution, command, unit, page, consumed)
                    continue
                issued = records.record_of(command)
                if issued is None:
                    effects.append(partial(self.outbox.silent, command))
                    continue
                page.append(issued)
                execution.issue(issued, unit)
                if isinstance(command, c.Attributes):
                    self._set_attributes(execution, command, unit)
                elif not isinstance(command, c.Value):
                    effects.append(partial(self._perform, execution, command))
        execution.count(page[len(fresh) :])
        if page:
            unit.append(run, page)
        execution.taken()
        self.submit(unit, Flight(run, acks, effects, fresh))

    def _set_attributes(self, execution: Execution, command: c.Attributes, unit: Unit) -> None:
        """Search attributes and memo go into the run's row and the index, with the step."""
        given = (None if each is None else decode(each) for each in command[1:])
        before = attributes.search_of(execution.row)
        extra = attributes.extra_with(execution.row.extra, *given)
        execution.row = execution.row._replace(extra=extra)
        unit.put_run(execution.run, execution.row)
        attributes.index(execution.run, before, attributes.search_of(execution.row), unit)

    def submit(self, unit: Unit, flight: Flight | None = None) -> None:
        """Hand a unit to the journal; what it owes is done on this thread after the commit."""
        flight = flight or Flight()
        self.sent += 1
        if flight.run:
            self.runs.used(flight.run, self.sent)

        def done(error: Exception | None) -> None:
            self._answers.put((flight, error))
            self.post(self._settle_answered)

        try:
            self.journal.submit(unit, done, losses=self._losses)
        except JournalError as error:
            done(error)

    def settle_all(self) -> None:
        """Wait for the disk, and deal with what is there."""
        while self.settled < self.sent:
            self._settle(*self._answers.get())

    def _settle_answered(self) -> None:
        """Deal with what the journal has answered."""
        while not self._answers.empty():
            self._settle(*self._answers.get())

    def _settle(self, flight: Flight, error: Exception | None) -> None:
        self.settled += 1
        if error is None:
            self._committed(flight)
        else:
            self._lost(flight, error)

    def submit_then(
        self, unit: Unit, run: int, effect: Callable[[], None], lost: Callable[[], None]
    ) -> None:
        """Hand a unit to the journal, and do something once it is on disk; see `Flight`."""
        self.submit(unit, Flight(run, effects=[effect], lost=lost))

    def _committed(self, flight: Flight) -> None:
        faults.point(ACK_BEFORE)
        router = self.parts.router
        for reply, value in flight.acks:
            router.answer(reply, value)
            faults.point(ACK_AFTER)
        for effect in flight.effects:
            faults.point(EFFECT_BEFORE)
            try:
                effect()
            except Exception:
                logger.exception("%s: cannot perform %r", self.name, effect)
            faults.point(EFFECT_AFTER)

    def _lost(self, flight: Flight, error: Exception) -> None:
        """A unit is not on disk: what memory says beyond the disk is worth nothing."""
        refusal = PerdureError(Kind.UNAVAILABLE, f"{self.parts.host_id}: {error}", True)
        for reply, _ in flight.acks:
            self.parts.router.refuse(reply, refusal)
        self._apply_again(flight.run, flight.inputs)
        if flight.lost is not None:
            self.deadlines.after(_RETRY_NS, partial(self.post, flight.lost))
        if self.settled == self.sent:
            # Not before: what is dropped while a unit of it is on its way would be rebuilt without.
            logger.error("%s", refusal.message)
            self._forget_all(refusal)
            self._losses = self.journal.losses

    def _apply_again(self, run: int, records: Sequence[Record]) -> None:
        """Give a run those of its inputs that nobody else keeps again, in a while."""
        internal = _internal(records)
        if internal:
            again = partial(self.post, partial(self._again, run, internal))
            self.deadlines.after(_RETRY_NS, again)

    def _forget_all(self, refusal: PerdureError) -> None:
        """Drop every run from memory; each is rebuilt from the journal when it is next touched."""
        for execution in self.runs.drop_all():
            for reply, _ in execution.acks:
                self.parts.router.refuse(reply, refusal)
            self._apply_again(execution.run, execution.fresh)
        self.endings.forget_lost(refusal)
        self._touched.clear()
        self.arrivals.keys.clear()
        self.starts.keys.clear()

    def _cannot_write(self, execution: Execution, error: Exception) -> None:
        """A step that the journal cannot hold hurts its run only: it is as if it had not been."""
        logger.exception("%s: a step cannot be written", execution.pid)
        refusal = PerdureError(Kind.INTERNAL, f"{execution.pid}: {error}")
        for reply, _ in execution.acks:
            self.parts.router.refuse(reply, refusal)
        self.settle_journal()
        self.machine.step([inputs.drop(execution.pid)], 0)
        self.runs.forget(execution)
        successor = self.runs.held(execution.row.workflow_id)
        if successor is not None:
            # It was to be written with the step.
            self.let_be(successor)
            self.runs.forget(successor)

    def vm_lost(self, error: OutOfMemoryError) -> None:
        """The VM hit its cap: a new one takes its place, and the runs are rebuilt in it."""
        logger.error("%s: %s; the VM was replaced", self.name, error)
        self.settle_journal()
        self.machine = self._make_machine()
        self.code.new_machine()
        self.cache.new_machine()
        self.inline.lost(PerdureError(Kind.INTERNAL, f"{self.name}: {error}"))
        self._forget_all(PerdureError(Kind.UNAVAILABLE, f"{self.name}: {error}", True))

    def settle_journal(self) -> None:
        """Wait for what is on its way to the disk, so that the journal says how the runs stand."""
        settled = threading.Event()
        self.journal.submit(Unit(), lambda error: settled.set())
        settled.wait()

    def _again(self, run: int, internal: Sequence[Record]) -> None:
        execution = self.runs.find_run(run)
        if execution is not None:
            for record in internal:
                self.touch(execution, record)

    # Effects --------------------------------------------------------------------------------------

    def _perform(self, execution: Execution, command: c.Command) -> None:
        """Do what a committed command asks for."""
        if execution.ended and getattr(command, "seq", 0) not in execution.requests:
            return
        if isinstance(command, c.Call):
            self.activities.schedule(execution, command.seq)
        elif isinstance(command, c.CancelCall):
            self.activities.cancel(execution, command.seq)
        elif isinstance(command, c.StartTimer):
            due = execution.timers.get(command.seq)
            if due is not None:
                self.deadlines.add(due, execution.run, command.seq, self)
        elif not isinstance(command, c.CancelTimer):
            self.outbox.perform(execution, command)

    def resume(self, run: int) -> None:
        """Boot: bring a run back that has something pending."""
        try:
            execution = self.runs.find_run(run)
        except BadRecordError as error:
            logger.error("run %d of %s is not resumed: %s", run, self.parts.host_id, error)
            return
        if execution is None:
            return
        self._perform_requests(execution)

    def resume_ended(self, run: int, row: RunRow, seqs: list[int]) -> None:
        """Boot: do what a run asked for in its last step and the crash left undone."""
        execution = Execution(run, row, f"{{{self.parts.host_id}|{row.workflow_id}}}")
        execution.ended = True
        for _, record in self.journal.history(run):
            if len(record) > 1 and record[1] in seqs and execution.is_request(record):
                execution.requests[record[1]] = record
        if self.chain.last(run)[1] is None:
            self._free_names(execution)
        if execution.requests:
            self.endings.orphans[run] = execution
            self._perform_requests(execution)

    def _free_names(self, execution: Execution) -> None:
        """The names that a run asked for went with it: nobody would free them after its end."""
        unit = Unit()
        for seq, record in list(execution.requests.items()):
            if record[0] == "name_requested" and record[4] in (None, execution.pid):
                execution.settle(seq, unit)
        self.submit(unit)

    def _perform_requests(self, execution: Execution) -> None:
        for record in list(execution.requests.values()):
            self.outbox.perform_record(execution, record)


def _internal(records: Sequence[Record]) -> list[Record]:
    """Those of a run's inputs that nobody outside would send again."""
    return [record for record in records if record[0] not in ("message", "started")]
