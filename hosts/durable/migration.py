"""Moving open runs from the code that they are pinned to to the code that is deployed.

A run moves when its history, replayed on the deployed code, gives the same commands. That is done
when somebody asks for it (`perdure workflows migrate`), and by itself for a parked run, which
cannot go on with the code it has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from hosts import sources
from hosts.durable import replay
from hosts.durable.code import source_of
from hosts.durable.execution import Execution
from hosts.durable.flights import Flight
from hosts.durable.history import Mismatch
from hosts.durable.records import Record
from journal.errors import BadRecordError
from journal.records import RunRow
from journal.unit import Unit
from runtime import inputs
from runtime.codec import encode
from runtime.errors import Kind, PerdureError
from runtime.inputs import ReplyTo
from runtime.lua.machine import OutOfMemoryError

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

logger = logging.getLogger(__name__)


class Migration:
    """Moves runs of a shard. Used on its thread."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def move(self, run: int, reply: ReplyTo) -> None:
        """Move an open run; the reply gets {moved, why, latest}: `why` not, "" where it has, and
        whether it runs the deployed code now.

        Refused with NOT_FOUND for a run that is not open, or whose entry is deployed no more.
        """
        runs, code = self._shard.runs, self._shard.code
        execution = runs.find_run(run)
        if execution is None:
            raise PerdureError(Kind.NOT_FOUND, f"run {run} is not open")
        entry = execution.row.entry
        bundle = code.bundle(entry)
        if bundle is None:
            raise PerdureError(Kind.NOT_FOUND, f"{entry} is not deployed any more")
        if execution.starting or code.is_latest(entry):
            self._answer(reply, "it takes what is deployed by itself", latest=True)
            return
        if source_of(execution.row, next(runs.recorded(run))[1]) == bundle.digest:
            self._answer(reply, "it runs what is deployed", latest=True)
            return

        def on_new_code(run: int, row: RunRow) -> Execution:
            why: Exception | None
            try:
                moved, why = self._try(run, row)
            except OutOfMemoryError as error:
                self._shard.losses.vm(error)
                why = error
            if why is not None:
                self._answer(reply, str(why))
                return runs.load(run, row)
            self._adopt(moved, bundle, [(reply, _verdict("", True))])
            return moved

        runs.rebuild(execution, on_new_code)

    def rescued(self, run: int, row: RunRow) -> Execution | None:
        """A parked run on the deployed code, if that is other code than its own, and fits."""
        bundle = self._other_code(run, row)
        if bundle is None:
            return None
        execution, mismatch = self._try(run, row)
        if mismatch is not None:
            return None
        self._adopt(execution, bundle)
        return execution

    def after_parking(self, run: int) -> Callable[[], object]:
        """What to do once a run is parked on disk: code that fits may be deployed already."""
        return partial(self._shard.post, partial(self._rescue, run))

    def _rescue(self, run: int) -> None:
        runs = self._shard.runs
        execution = runs.find_run(run)
        if execution is None or not execution.suspended:
            return
        if self._other_code(run, execution.row) is None:
            return

        def on_deployed_code(run: int, row: RunRow) -> Execution:
            parked = runs.at_rest(run, row)
            try:
                if (rescued := self.rescued(run, row)) is not None:
                    return rescued
            except OutOfMemoryError as error:
                self._shard.losses.vm(error)
            except BadRecordError as error:
                logger.error("%s stays parked: %s", parked.pid, error)
            runs.keep(parked)
            return parked

        runs.rebuild(execution, on_deployed_code)

    def _other_code(self, run: int, row: RunRow) -> sources.Bundle | None:
        """The deployed code of a run that is pinned to other code."""
        code = self._shard.code
        bundle = code.bundle(row.entry)
        first = next(self._shard.runs.recorded(run), None)
        if bundle is None or first is None or code.is_latest(row.entry):
            return None
        return None if source_of(row, first[1]) == bundle.digest else bundle

    def _try(self, run: int, row: RunRow) -> tuple[Execution, Mismatch | None]:
        """The run as the deployed code has it; where that does not fit, its slot is gone again."""
        runs, machine = self._shard.runs, self._shard.machine
        execution = Execution(run, row, runs.pid_of(row))
        mismatch = replay.replay(
            execution, runs.recorded(run), runs.attempts(run), machine, lambda started: row.entry
        )
        if mismatch is not None:
            machine.step([inputs.drop(execution.pid)], 0)
            mismatch.source = replay.source_line(
                execution, runs.recorded(run), machine, mismatch.position
            )
            machine.step([inputs.drop(execution.pid)], 0)
        return execution, mismatch

    def _adopt(
        self,
        execution: Execution,
        bundle: sources.Bundle,
        acks: Sequence[tuple[ReplyTo, bytes]] = (),
    ) -> None:
        """A run that was rebuilt on the deployed code is pinned to that from now on."""
        extra = {**(execution.row.extra or {}), "source": bundle.digest}
        extra.pop("problem", None)
        execution.row = execution.row._replace(status="open", extra=extra)
        execution.suspended = False
        page: list[Record] = [["migrated", bundle.digest]]
        unit = Unit()
        unit.put_source(bundle.digest, bundle.blob)
        unit.put_run(execution.run, execution.row)
        unit.append(execution.run, page)
        if not execution.waiting:
            unit.del_ready(execution.run)
        execution.count(page)
        self._shard.runs.keep(execution)
        if execution.waiting:
            self._shard.wake(execution)
        self._shard.submit(unit, Flight(execution.run, acks))

    def _answer(self, reply: ReplyTo, why: str, *, latest: bool = False) -> None:
        self._shard.parts.router.answer(reply, _verdict(why, latest))


def _verdict(why: str, latest: bool) -> bytes:
    verdict: dict[str, Any] = {"moved": not why, "why": why, "latest": latest}
    return encode(verdict)
