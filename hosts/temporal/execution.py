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
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any, Final

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import FailureError

from hosts import effects
from hosts.temporal import headers as h
from hosts.temporal import requests, start
from hosts.temporal.asking import Asking
from hosts.temporal.attributes import Attributes
from hosts.temporal.calls import Calls
from hosts.temporal.children import Children
from hosts.temporal.failures import failure
from hosts.temporal.pace import Pace, Turns
from hosts.temporal.parts import Parts
from hosts.temporal.payloads import (
    check_size,
    check_together,
    encoded_args,
    encoded_message,
    raw,
    raw_args,
)
from hosts.temporal.rebuilding import Rebuilding
from runtime import commands as c
from runtime import inputs
from runtime.codec import decode, encode, encode_args
from runtime.errors import Kind, PerdureError
from runtime.ids import Pid
from runtime.inputs import Input, StartOptions
from runtime.lua.machine import MACHINE_VERSION, OutOfMemoryError

NIL: Final = encode(None)
#: How many keys of messages a run that goes on as new takes along.
_KEYS: Final = 1_000
#: Timers of the server go by milliseconds, and none is shorter.
_SHORTEST: Final = 0.001


class Execution:
    """A run in memory."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.info = workflow.info()
        self.pid = parts.pid(self.info.workflow_id)
        self.headers = self.info.headers
        self._rebuilding = Rebuilding(self.info)
        self.seed = b""
        self._machine = h.header(self.headers, h.MACHINE) or MACHINE_VERSION
        self._vm = parts.vms.of(self.info.run_id)
        self._inputs: list[Input] = []
        self._awake: asyncio.Future[None] | None = None
        self._cancelled = False
        self._canceller = ""
        self._cancels: list[Input] = []
        self._keys: list[str] = h.header(self.headers, h.KEYS) or []
        self._end: c.Ended | c.Upgrade | None = None
        self._timers: dict[int, asyncio.TimerHandle] = {}
        #: Tasks whose end the end of the run waits for.
        self._pending: set[asyncio.Task[Any]] = set()
        self.pace = Pace()
        self._send_turns = Turns()
        self._released: list[c.Command] = []
        self.asking = Asking(self)
        self.children = Children(self)
        self.attributes = Attributes(self)
        calls = Calls(self)
        self._performers: dict[type[Any], Callable[[Any], None]] = {
            c.Call: calls.call,
            c.CancelCall: calls.cancel,
            c.StartTimer: self._start_timer,
            c.CancelTimer: self._cancel_timer,
            c.Send: self._send,
            c.Spawn: self._spawn,
            c.Control: self.asking.ask,
            c.Name: self.asking.ask,
            c.Ask: self.asking.ask,
            c.Attributes: self.attributes.set,
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

    def answer(self, seq: int, ok: bool, value: bytes) -> None:
        """The answer to a request of the run."""
        self.put(inputs.answer(self.pid, seq, ok, value))

    def refuse(self, seq: int, error: PerdureError) -> None:
        """Answer a request with an error."""
        self.answer(seq, False, encode(error))

    def take_signal(self, topic: str, args: Sequence[RawValue], sender: str, key: str) -> None:
        """A signal: a message, or one of our own kinds of inputs."""
        if key:
            if key in self._keys:
                return  # it is repeated, and the run before this one has got it
            self._keys.append(key)
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
        definition = await self._definition()
        delay = h.header(self.headers, h.DELAY)
        if delay and self.info.attempt == 1:
            await self._sleep(delay / 1e9)
        try:
            self._inputs.insert(0, self._start(definition, encoded_args(args)))
            if self.info.attempt == 1:
                self.children.inherit(h.header(self.headers, h.CHILDREN) or ())
        except PerdureError as error:
            raise failure(error, final=True) from None
        self._vm.begin(self.pid, self.info.run_id, self.info.workflow_type)
        try:
            while self._end is None:
                await self._wait(lambda: bool(self._inputs or self._released))
                released, self._released = self._released, []
                for command in released or self._step():
                    await self._perform(command)
            # What the server is still to be told of the run, it is told before the end.
            await self._wait(lambda: not self._pending)
        finally:
            self._vm.end(self.pid, self.info.run_id)
        return self._outcome(self._end)

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
            await self._sleep(_SHORTEST)  # what was asked for goes to the server
        perform(command)

    async def _sleep(self, seconds: float) -> None:
        timer = asyncio.get_running_loop().create_task(asyncio.sleep(seconds))
        timer.add_done_callback(lambda _: self._rouse())
        await self._wait(timer.done)

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
        try:
            return self._vm.step(self.pid, info.run_id, [step])
        except OutOfMemoryError as error:
            killed = PerdureError(Kind.INTERNAL, f"process killed: out of memory: {error}", False)
            return [c.Ended(self.pid, False, encode(killed), info.workflow_type)]

    def _start(self, definition: str, args: bytes) -> Input:
        info = self.info
        options: StartOptions = {
            "durable": True,
            "derived": True,
            "machine": self._machine,
            "seed": self.seed,
            "parent": h.header(self.headers, h.PARENT) or "",
            "info": {
                "workflow_id": info.workflow_id,
                "run_id": info.run_id,
                "workflow_type": info.workflow_type,
                "task_queue": info.task_queue.removeprefix(self.parts.prefix),
                "namespace": info.namespace,
                "attempt": info.attempt,
                "host": self.parts.host_id,
            },
        }
        context = h.header(self.headers, h.CONTEXT)
        if context:
            options["context"] = encode(context)
        messages = h.header(self.headers, h.MESSAGES)
        if messages:
            options["messages"] = [
                (topic, encode_args(values), sender) for topic, values, sender in messages
            ]
        return inputs.start(self.pid, definition, args, options)

    async def _definition(self) -> str:
        """What the machine is to run the run as; sets the seed, too.

        A run that a foreign client started has neither source nor seed in its headers: it takes
        what is deployed when it begins, and its history keeps both.
        """
        entry, parts = self.info.workflow_type, self.parts
        source, seed = h.header(self.headers, h.SOURCE), h.header(self.headers, h.SEED)
        if seed is None:
            if not workflow.unsafe.is_replaying():
                self._check_deployed()
            begun = workflow.start_local_activity(
                requests.BEGIN, args=[entry], result_type=list, **requests.TIMES
            )
            begun.add_done_callback(lambda _: self._rouse())
            await self._wait(begun.done)
            seed, self._machine, source = begun.result()
        self.seed = hmac.digest(seed, self.info.original_execution_run_id.encode(), "sha256")
        if source is None or parts.is_latest(entry):
            self._check_deployed()
            return entry
        try:
            blob = start.source_of(source)
        except PerdureError as error:
            raise failure(error, final=True) from None
        deployed = parts.bundle(entry)
        if deployed is not None and deployed.blob == blob:
            return entry
        return self._vm.pin(entry, blob, hashlib.sha256(blob).digest())

    def _check_deployed(self) -> None:
        entry = self.info.workflow_type
        if self.parts.kind_of(entry) != "workflow.lua":
            raise RuntimeError(f"{entry} is no workflow.lua that this worker knows")

    def _outcome(self, end: c.Ended | c.Upgrade | None) -> RawValue:
        """The result, or the failure, of the run."""
        if isinstance(end, c.Upgrade):
            self._go_on(end)
        assert isinstance(end, c.Ended)
        if end.ok:
            return raw(end.value)
        error: PerdureError = decode(end.value)
        if self.parts.deployed.option(self.info.workflow_type, "on_error") == "suspend":
            # The server tries the task again and again: code that does better gets the same inputs.
            raise RuntimeError(effects.explain(error))
        if not workflow.unsafe.is_replaying():
            self.parts.log_failure(c.Ended(self.pid, False, end.value, self.info.workflow_type))
        raise failure(error)

    def _go_on(self, command: c.Upgrade) -> None:
        """The run goes on as new, with what it has not read."""
        parts, seed = self.parts, hmac.digest(self.seed, b"next", "sha256")
        context = h.header(self.headers, h.CONTEXT)
        headers = start.start_headers(
            parts,
            command.entry,
            None if context is None else encode(context),
            h.header(self.headers, h.PARENT) or "",
            command.messages,
            seed,
        )
        headers |= h.headers_of(
            {h.CHILDREN: self.children.open or None, h.KEYS: self._keys[-_KEYS:] or None}
        )
        args = raw_args(command.args)
        try:
            check_together(f"what goes on with {command.entry}", args, headers)
        except PerdureError as error:
            raise failure(error, final=True) from None
        with h.sending(headers):
            workflow.continue_as_new(workflow=command.entry, args=args)

    def _ended(self, command: c.Ended | c.Upgrade) -> None:
        self._end = command

    # Commands -------------------------------------------------------------------------------------

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

    def _send(self, command: c.Send) -> None:
        if command.dest == self.pid:
            # The server refuses what a run sends to itself.
            self.put(inputs.message(self.pid, command.topic, self.pid, command.args))
            self.answer(command.seq, True, encode(True))
            return
        if not command.dest.startswith(f"{{{self.parts.host_id}|"):
            self.asking.ask(command)
            return
        try:
            target = Pid.parse(command.dest).unique
            check_size(f"the message {command.topic}", command.args)
        except PerdureError as error:
            self.refuse(command.seq, error)
            return
        if self._send_turns.take(command):
            self.keep(asyncio.get_running_loop().create_task(self._signal(target, command)))

    async def _signal(self, target: str, command: c.Send) -> None:
        handle = workflow.get_external_workflow_handle(target)
        try:
            with h.sending(h.headers_of({h.SENDER: self.pid})):
                await handle.signal(command.topic, args=raw_args(command.args))
        except FailureError:
            text = f"process not found: {command.dest}"
            self.refuse(command.seq, PerdureError(Kind.NOT_FOUND, text))
        else:
            self.answer(command.seq, True, encode(True))
        self.release(self._send_turns.ended())

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

    def _settled(self, task: asyncio.Task[Any]) -> None:
        self._pending.discard(task)
        self._rouse()

    # On replay these were done before.

    def _tell(self, command: c.Tell) -> None:
        if not workflow.unsafe.is_replaying():
            effects.tell(self.parts.router, command)

    def _log(self, command: c.Log) -> None:
        if not workflow.unsafe.is_replaying():
            effects.log(command)
