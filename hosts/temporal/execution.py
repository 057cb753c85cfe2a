"""One run, stepped as the server's history says: the interpreter of its commands.

Theory of operation. The SDK activates a run with what has happened: signals, results, timers. Each
becomes an input; the coroutine of the run hands all that is there to the Lua machine and turns the
commands that come back into commands of Temporal. Lua is driven from this one coroutine; what else
runs (the wait for a child) only puts inputs. Nothing here is journaled by us: the server records
the commands and what became of them, and a replay gives the machine the same inputs at the same
times. What differs from run to run is derived from the run's seed, and whatever concerns the node
alone (a process, a name, the module `store`) goes through a local activity, whose answer the
history keeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from temporalio import workflow
from temporalio.common import RawValue

from hosts import effects
from hosts.points import STEP_AFTER, STEP_BEFORE
from hosts.temporal import headers as h
from hosts.temporal import requests, unread
from hosts.temporal.asking import Asking
from hosts.temporal.attributes import Attributes
from hosts.temporal.beginning import Beginning
from hosts.temporal.calls import Calls
from hosts.temporal.children import Children
from hosts.temporal.ending import outcome
from hosts.temporal.failures import failure
from hosts.temporal.pace import Pace
from hosts.temporal.parts import Parts
from hosts.temporal.payloads import encoded_message
from hosts.temporal.rebuilding import Rebuilding
from hosts.temporal.runner import CANCELS
from hosts.temporal.sends import Sends
from journal import faults
from runtime import commands as c
from runtime import inputs
from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError
from runtime.inputs import Input
from runtime.lua.machine import OutOfMemoryError

NIL: Final = encode(None)
#: Timers of the server go by milliseconds, and none is shorter.
_SHORTEST: Final = 0.001
#: Marks that the end of a run has left something behind.
_LEAVES: Final = "perdure.leaves"


class Execution:
    """A run in memory."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.info = workflow.info()
        #: What it is given beside its arguments, by header; why it cannot be, if so.
        self.given: dict[str, Any] = {}
        self._strange: PerdureError | None = None
        try:
            self.given = h.given(self.info.headers)
        except PerdureError as error:
            self._strange = error
        self.pid = parts.pid(self.info.workflow_id, self.given.get(h.HOST))
        for pid in (self.pid, self.given.get(h.PARENT, "")):
            parts.reach(pid)
        left = unread.left_to(self.pid, self.info.continued_run_id, self.given.get(h.UNREAD))
        self._inputs: list[Input] = left.items
        self.keys: list[str] = left.keys or self.given.get(h.KEYS, [])
        self._rebuilding = Rebuilding(self.info)
        self.seed = b""
        self.vm = parts.vms.of(self.info.run_id)
        self._awake: asyncio.Future[None] | None = None
        self._cancelled = False
        self._canceller = ""
        self._cancels: list[Input] = []
        self._end: c.Ended | c.Upgrade | None = None
        self._timers: dict[int, asyncio.TimerHandle] = {}
        #: Tasks whose end the end of the run waits for.
        self._pending: set[asyncio.Task[Any]] = set()
        #: Tasks that its end leaves behind.
        self._left: set[asyncio.Task[Any]] = set()
        self.pace = Pace()
        self._released: list[c.Command] = []
        self.asking = Asking(self)
        self.children = Children(self)
        self.attributes = Attributes(self)
        calls = Calls(self)
        self._performers: dict[type[Any], Callable[[Any], object]] = {
            c.Call: calls.call,
            c.CancelCall: calls.cancel,
            c.StartTimer: self._start_timer,
            c.CancelTimer: self._cancel_timer,
            c.Send: Sends(self).send,
            c.Spawn: self._spawn,
            c.Control: self.asking.ask,
            c.Name: self.asking.ask,
            c.Ask: self.asking.ask,
            c.Attributes: self.attributes.set,
            c.CheckedAttributes: self.attributes.set_checked,
            c.Tell: self._tell,
            c.Log: self._log,
            c.Ended: self._ended,
            c.Upgrade: self._ended,
        }

    # What comes in --------------------------------------------------------------------------------

    def put(self, item: Input) -> None:
        """An input for the next step."""
        self._inputs.append(item)
        self._rouse()

    @property
    def late(self) -> Sequence[Input]:
        """What has come since the last step."""
        return self._inputs

    def answer(self, seq: int, ok: bool, value: bytes) -> None:
        """The answer to a request of the run."""
        self.put(inputs.answer(self.pid, seq, ok, value))

    def refuse(self, seq: int, error: PerdureError) -> None:
        """Answer a request with an error."""
        self.answer(seq, False, encode(error))

    def take_signal(self, topic: str, args: Sequence[RawValue], sender: str, key: str) -> None:
        """A signal: a message, or one of our own kinds of inputs."""
        if key:
            if key in self.keys:
                return  # it is repeated, and the run before this one has got it
            self.keys.append(key)
        self.parts.reach(sender)
        message = encoded_message(args)
        if topic == requests.EVENT:
            for event in decode(message):
                if isinstance(event, dict) and "kind" in event:
                    self.put(inputs.signal(self.pid, encode(event)))
        elif topic == requests.CANCEL:
            self._take_cancel(decode(message), sender)
        else:
            self.put(inputs.message(self.pid, topic, sender, message))

    def _take_cancel(self, reasons: list[Any], sender: str) -> None:
        if not reasons:
            self._canceller = sender
            return
        reason = reasons[0] if isinstance(reasons[0], str) else None
        cancel = inputs.control(self.pid, "cancel", sender, reason)
        if self._cancelled:
            self.put(cancel)
        else:
            self._cancels.append(cancel)  # the first one comes behind the signals

    # The run --------------------------------------------------------------------------------------

    async def run(self, args: Sequence[RawValue]) -> RawValue:
        """From its start to its end. Raises the failure that it ended with."""
        if self._strange is not None:
            raise failure(self._strange, final=True)
        first = await Beginning(self).first(args)
        self._inputs.insert(0, first)
        self.vm.begin(self.pid, self.info.run_id, self.info.workflow_type, self._is_idle)
        try:
            while self._end is None:
                await self._wait(lambda: bool(self._inputs or self._released))
                for command in self._take_released() or self._step():
                    await self._perform(command)
            # What the server is still to be told of the run, it is told before the end.
            while self._pending or self._released:
                await self._wait(lambda: bool(self._released) or not self._pending)
                for command in self._take_released():
                    if not isinstance(command, c.Call):
                        await self._perform(command)
            if workflow.extern_functions()[CANCELS]():
                await self._wait(lambda: self._cancelled)
            # Histories without this mark are of when the end waited for these, too.
            if self._left and not workflow.patched(_LEAVES):
                await self._wait(lambda: not self._left)
        finally:
            self.vm.end(self.pid, self.info.run_id)
        return await outcome(self, self._end)

    def _is_idle(self) -> bool:
        """Whether it asks its node for nothing now."""
        return not self._pending

    async def _wait(self, ready: Callable[[], bool]) -> None:
        """Come back when something is there; a request to end the run is an input."""
        while not ready():
            self._awake = asyncio.get_running_loop().create_future()
            try:
                await self._awake
            except asyncio.CancelledError:
                reason = workflow.cancellation_reason()
                if self._cancelled or reason is None:
                    raise  # the run leaves memory
                self._cancelled = True
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
                cancel = inputs.control(self.pid, "cancel", self._canceller, reason or None)
                self._inputs += [cancel, *self._cancels]
            self._awake = None

    def _rouse(self) -> None:
        if self._awake is not None and not self._awake.done():
            self._awake.set_result(None)

    async def _perform(self, command: c.Command) -> None:
        perform = self._performers.get(type(command))
        if perform is None:
            return
        while not self.pace.takes(command):
            await self.sleep(_SHORTEST)  # what was asked for goes to the server
        perform(command)

    async def sleep(self, seconds: float) -> None:
        """Wait for a time, whatever comes meanwhile."""
        await self.until(asyncio.get_running_loop().create_task(asyncio.sleep(seconds)))

    async def until(self, task: asyncio.Task[Any]) -> None:
        """Wait for the end of a task, whatever comes meanwhile."""
        task.add_done_callback(lambda _: self._rouse())
        await self._wait(task.done)

    def _take_released(self) -> list[c.Command]:
        released, self._released = self._released, []
        return released

    def release(self, commands: list[c.Command]) -> None:
        """Perform what had to wait for its turn."""
        self._released += commands
        self._rouse()

    def _step(self) -> list[c.Command]:
        if not workflow.unsafe.is_replaying():
            self._rebuilding.done()
        consumed, self._inputs = self._inputs, []
        info = self.info
        step = inputs.step(
            self.pid,
            workflow.time_ns(),
            None,
            consumed,
            info.get_current_history_length(),
            info.get_current_history_size(),
        )
        faults.point(STEP_BEFORE)
        try:
            commands = self.vm.step(self.pid, info.run_id, [step])
        except OutOfMemoryError as error:
            killed = PerdureError(Kind.INTERNAL, f"process killed: out of memory: {error}", False)
            commands = [c.Ended(self.pid, False, encode(killed), info.workflow_type)]
        faults.point(STEP_AFTER)
        return commands

    # Commands -------------------------------------------------------------------------------------

    def _ended(self, command: c.Ended | c.Upgrade) -> None:
        self._end = command

    def _start_timer(self, command: c.StartTimer) -> None:
        loop, seq = asyncio.get_running_loop(), command.seq

        def fire() -> None:
            del self._timers[seq]
            self.answer(seq, True, NIL)

        self._timers[seq] = loop.call_later(max(command.ns / 1e9, _SHORTEST), fire)

    def _cancel_timer(self, command: c.CancelTimer) -> None:
        timer = self._timers.pop(command.seq, None)
        if timer is not None:
            timer.cancel()

    def _spawn(self, command: c.Spawn) -> None:
        queue = self.parts.queue_of(command.host)
        if self.children.is_one(command, queue):
            self.children.spawn(command, queue or self.info.task_queue)
        else:
            self.asking.ask(command)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """The end of the run waits for this one's."""
        self._pending.add(task)
        task.add_done_callback(self._settled)

    def leave(self, task: asyncio.Task[Any]) -> None:
        """The end of the run does not wait for this one's."""
        self._left.add(task)
        task.add_done_callback(self._left.discard)

    def _settled(self, task: asyncio.Task[Any]) -> None:
        self._pending.discard(task)
        self._rouse()

    def _tell(self, command: c.Tell) -> None:
        if not workflow.unsafe.is_replaying():  # it was done before
            effects.tell(self.parts.router, command)

    def _log(self, command: c.Log) -> None:
        if not workflow.unsafe.is_replaying():
            effects.log(command)
