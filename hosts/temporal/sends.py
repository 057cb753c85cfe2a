"""Messages that a run sends: to workflows as signals, to others through the node."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

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


#: Marks that a message has waited for the one before it.
_IN_ORDER: Final = "perdure.in-order"


class Sends:
    """Sends for a run: to each destination one behind the other, as the server and the node bring
    what is under way together in any order."""

    def __init__(self, execution: Execution) -> None:
        self._run = execution
        self._turns = Turns()
        #: Destination -> the message that is under way, and those behind it.
        self._lanes: dict[str, deque[c.Send]] = {}

    def send(self, command: c.Send) -> None:
        """Send a message, and answer."""
        run = self._run
        if command.dest in (run.pid, run.parts.pid(run.info.workflow_id)):
            # The server refuses what a run sends to itself.
            run.put(inputs.message(run.pid, command.topic, run.pid, command.args))
            run.answer(command.seq, True, encode(True))
            return
        lane = self._lanes.setdefault(command.dest, deque())
        if lane and lane[0] is not command and workflow.patched(_IN_ORDER):
            lane.append(command)
            return
        if not lane:
            lane.append(command)
        if command.dest.startswith(f"{{{run.parts.host_id}|"):
            self._send_to_run(command)
        else:
            run.asking.ask(command).add_done_callback(lambda task: self._ended(command))

    def _send_to_run(self, command: c.Send) -> None:
        run = self._run
        try:
            target = Pid.parse(command.dest).unique
            check_size(f"the message {command.topic}", command.args)
        except PerdureError as error:
            run.refuse(command.seq, error)
            self._ended(command)
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
        self._ended(command)

    def _ended(self, command: c.Send) -> None:
        """A message is answered: it is the turn of the one behind it."""
        lane = self._lanes.get(command.dest)
        if not lane or lane[0] is not command:
            return  # a history of before: it has not waited
        lane.popleft()
        if lane:
            self._run.release([lane[0]])
        else:
            del self._lanes[command.dest]
