"""Function calls of a run: activities under way, and those that wait for their turn."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from temporalio.common import RawValue

from hosts.temporal.pace import Turns
from hosts.temporal.schedule import options_of, outcome_of, start_activity
from runtime import commands as c
from runtime.errors import Kind, PerdureError

if TYPE_CHECKING:
    from hosts.temporal.execution import Execution


class Calls:
    """Schedules the activities of a run."""

    def __init__(self, execution: Execution) -> None:
        self._run = execution
        self._turns = Turns()
        self._tasks: dict[int, asyncio.Task[Any]] = {}
        self._ids: dict[int, str] = {}

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
        self._run.answer(seq, *outcome_of(task))
        self._run.release(self._turns.ended())

    def cancel(self, command: c.CancelCall) -> None:
        """Cancel a call, if it is not over."""
        task = self._tasks.get(command.seq)
        if task is not None:
            task.cancel()
        elif self._turns.drop(command.seq):
            self._run.refuse(command.seq, PerdureError(Kind.CANCELED, "canceled"))
