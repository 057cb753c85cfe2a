"""What a run asks of its node, as activities of ours: their answers are in the history."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from temporalio import workflow
from temporalio.common import RawValue

from hosts.temporal import requests
from hosts.temporal.payloads import bound
from hosts.temporal.schedule import outcome_of, span
from runtime import commands as c
from runtime.codec import decode, encode

if TYPE_CHECKING:
    from hosts.temporal.execution import Execution

#: For what may take as long as it likes.
_LONG: Final = timedelta(days=3650)


class Asking:
    """Asks for a run."""

    def __init__(self, execution: Execution) -> None:
        self._run = execution

    def ask(self, command: requests.Request) -> asyncio.Task[RawValue]:
        """Ask the node for something; it is answered with what the node says, at the end of the
        task that is returned."""
        fields = [requests.written(command), self._run.pid]
        task: asyncio.Task[RawValue]
        if isinstance(command, c.Spawn) and command.flags & c.EXEC:
            task = self.wait_long(requests.NODE, fields, str(command.seq))
            self._run.leave(task)
        else:
            task = workflow.start_local_activity(
                requests.NODE, args=fields, result_type=RawValue, **requests.TIMES
            )
            self._run.keep(task)
        task.add_done_callback(partial(self._answered, command.seq))
        return task

    def wait_long(
        self, name: str, args: list[Any], activity_id: str
    ) -> workflow.ActivityHandle[RawValue]:
        """An activity of ours that takes as long as what it waits for."""
        handle: workflow.ActivityHandle[RawValue] = workflow.start_activity(
            name,
            args=args,
            result_type=RawValue,
            start_to_close_timeout=_LONG,
            heartbeat_timeout=span(self._run.parts.heartbeat),
            activity_id=activity_id,
        )
        return handle

    def _answered(self, seq: int, task: asyncio.Task[RawValue]) -> None:
        ok, value = outcome_of(task)
        self._run.pace.add(bound(value))
        if ok:
            ok, answer = decode(value)
            value = encode(answer)
        self._run.answer(seq, ok, value)
