"""Function calls of a run: activities under way, and those that wait for their turn."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from temporalio import workflow
from temporalio.common import RawValue

from hosts.temporal.failures import is_lost
from hosts.temporal.pace import Turns
from hosts.temporal.schedule import options_of, outcome_of, start_activity
from runtime import commands as c
from runtime.errors import Kind, PerdureError

if TYPE_CHECKING:
    from hosts.temporal.execution import Execution

#: Marks that a call which was cancelled and then lost with its worker has ended as cancelled.
_LOST: Final = "perdure.lost"


class Calls:
    """Schedules the activities of a run."""

    def __init__(self, execution: Execution) -> None:
        self._run = execution
        self._turns = Turns()
        self._tasks: dict[int, asyncio.Task[Any]] = {}
        self._ids: dict[int, str] = {}
        self._cancelled: set[int] = set()

    def call(self, command: c.Call) -> None:
        """Schedule a call; it answers when it has ended."""
        if not self._turns.take(command):
            return
        run, seq = self._run, command.seq
        try:
            options = options_of(run.parts, command)
            own_id = options.id or str(seq)
            if own_id in self._ids.values():
                text = f'activity.id "{own_id}" is that of an activity which is pending'
                raise PerdureError(Kind.ALREADY_EXISTS, text, False)
            task = start_activity(run.parts, command, options)
        except PerdureError as error:
            run.refuse(seq, error)
            run.release(self._turns.ended())
            return
        self._tasks[seq], self._ids[seq] = task, own_id
        task.add_done_callback(partial(self._ended, seq))

    def _ended(self, seq: int, task: asyncio.Task[RawValue]) -> None:
        del self._tasks[seq], self._ids[seq]
        lost = not task.cancelled() and is_lost(task.exception())
        if lost and seq in self._cancelled and workflow.patched(_LOST):
            self._run.refuse(seq, PerdureError(Kind.CANCELED, "canceled"))
        else:
            self._run.answer(seq, *outcome_of(task))
        self._cancelled.discard(seq)
        self._run.release(self._turns.ended())

    def cancel(self, command: c.CancelCall) -> None:
        """Cancel a call, if it is not over."""
        task = self._tasks.get(command.seq)
        if task is not None:
            self._cancelled.add(command.seq)
            task.cancel()
        elif self._turns.drop(command.seq):
            self._run.refuse(command.seq, PerdureError(Kind.CANCELED, "canceled"))
