"""Messages that a run sends: to workflows as signals, to others through the node."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from temporalio import workflow
from temporalio.exceptions import FailureError

from hosts.temporal import headers as h
from hosts.temporal import start
from hosts.temporal.pace import Turns
from hosts.temporal.payloads import check_size, raw_args
from runtime import commands as c
from runtime import inputs
from runtime.codec import encode
from runtime.errors import PerdureError
from runtime.ids import Pid

if TYPE_CHECKING:
    from hosts.temporal.execution import Execution


class Sends:
    """Sends for a run."""

    def __init__(self, execution: Execution) -> None:
        self._run = execution
        self._turns = Turns()

    def send(self, command: c.Send) -> None:
        """Send a message, and answer."""
        run = self._run
        if command.dest in (run.pid, run.parts.pid(run.info.workflow_id)):
            # The server refuses what a run sends to itself.
            run.put(inputs.message(run.pid, command.topic, run.pid, command.args))
            run.answer(command.seq, True, encode(True))
            return
        if not command.dest.startswith(f"{{{run.parts.host_id}|"):
            run.asking.ask(command)
            return
        try:
            target = Pid.parse(command.dest).unique
            check_size(f"the message {command.topic}", command.args)
        except PerdureError as error:
            run.refuse(command.seq, error)
            return
        if self._turns.take(command):
            run.keep(asyncio.get_running_loop().create_task(self._signal(target, command)))

    async def _signal(self, target: str, command: c.Send) -> None:
        run, handle = self._run, workflow.get_external_workflow_handle(target)
        try:
            with h.sending(h.headers_of({h.SENDER: run.pid})):
                await handle.signal(command.topic, args=raw_args(command.args))
        except FailureError:
            run.refuse(command.seq, start.gone(command.dest, None))
        else:
            run.answer(command.seq, True, encode(True))
        run.release(self._turns.ended())
