"""What becomes of runs when the disk, the journal or the VM does not take what they did.

Memory is ahead of the disk. When a unit does not get there, what memory says is worth nothing:
every run is dropped, callers are told UNAVAILABLE, and each run is rebuilt from the journal when it
is next touched. Inputs that nobody outside would send again (results, due timers, answers) are
given to it again a little later.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from hosts.durable.execution import Execution
from hosts.durable.flights import Flight
from hosts.durable.records import Record
from runtime import inputs
from runtime.errors import Kind, PerdureError
from runtime.lua.machine import OutOfMemoryError

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

logger = logging.getLogger(__name__)

#: How long inputs that could not be written wait for the journal, ns.
_RETRY_NS: Final = 1_000_000_000
#: Who sent these has not been told that they are kept.
_FROM_OUTSIDE: Final = frozenset({"message", "started"})


class Losses:
    """Takes the runs of a shard back to what is on disk. Used on the shard's thread."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def lost(self, flight: Flight, error: Exception) -> None:
        """A unit is not on disk."""
        shard = self._shard
        refusal = PerdureError(Kind.UNAVAILABLE, f"{shard.parts.host_id}: {error}", True)
        for reply, _ in flight.acks:
            shard.parts.router.refuse(reply, refusal)
        self._give_later(flight.run, flight.inputs)
        if flight.lost is not None:
            shard.deadlines.after(_RETRY_NS, partial(shard.post, flight.lost))
        if shard.flights.settled == shard.flights.sent:
            # Not before: what is dropped while a unit of it is on its way would be rebuilt without.
            logger.error("%s", refusal.message)
            self._forget_all(refusal)
            shard.flights.losses = shard.journal.losses

    def vm(self, error: OutOfMemoryError) -> None:
        """The VM hit its cap: a new one takes its place, and the runs are rebuilt in it."""
        shard = self._shard
        logger.error("%s: %s; the VM was replaced", shard.name, error)
        shard.flights.wait()
        shard.new_machine()
        shard.inline.lost(PerdureError(Kind.INTERNAL, f"{shard.name}: {error}"))
        self._forget_all(PerdureError(Kind.UNAVAILABLE, f"{shard.name}: {error}", True))

    def step(self, execution: Execution, error: Exception) -> None:
        """A step that the journal cannot hold hurts its run only: it is as if it had not been."""
        shard = self._shard
        logger.exception("%s: a step cannot be written", execution.pid)
        text = f"{execution.pid}: its step cannot be written: {error}"
        refusal = PerdureError(Kind.INTERNAL, text)
        for reply, _ in execution.acks:
            shard.parts.router.refuse(reply, refusal)
        shard.arrivals.forget(execution.fresh)
        if execution.starting:
            shard.starts.unwritten(execution, refusal)
        self._give_later(execution.run, execution.fresh)
        shard.flights.wait()
        shard.machine.step([inputs.drop(execution.pid)], 0)
        shard.runs.forget(execution)
        successor = shard.runs.held(execution.row.workflow_id)
        if successor is not None:
            # It was to be written with the step.
            shard.let_be(successor)
            shard.runs.forget(successor)

    def _forget_all(self, refusal: PerdureError) -> None:
        """Drop every run from memory; each is rebuilt from the journal when it is next touched."""
        shard = self._shard
        for execution in shard.runs.drop_all():
            for reply, _ in execution.acks:
                shard.parts.router.refuse(reply, refusal)
            self._give_later(execution.run, execution.fresh)
            shard.let_be(execution)
        shard.endings.forget_lost(refusal)
        shard.arrivals.keys.clear()
        shard.starts.lost()

    def _give_later(self, run: int, records: Sequence[Record]) -> None:
        internal = [record for record in records if record[0] not in _FROM_OUTSIDE]
        if internal:
            again = partial(self._shard.post, partial(self._give, run, internal))
            self._shard.deadlines.after(_RETRY_NS, again)

    def _give(self, run: int, records: Sequence[Record]) -> None:
        execution = self._shard.runs.find_run(run)
        if execution is not None:
            for record in records:
                self._shard.touch(execution, record)
