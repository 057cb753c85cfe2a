"""Performs the commands of processes and functions at once; those of runs wait for the disk.

What a slot has under way elsewhere (calls, timers) is kept by its PID, and dropped when it ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from hosts import effects
from hosts.calls import Calls
from hosts.timers import Timer, Timers
from runtime import commands as c
from runtime import inputs
from runtime.errors import Kind, PerdureError
from runtime.inputs import Input
from runtime.routing.router import NIL, Router

logger = logging.getLogger(__name__)


class Performer:
    """Gives commands their meaning for the slots of one host. Used on its VM workers' threads.

    Args:
        name: of the host, for the log.
        deliver: brings an answer to a slot of the host.
        on_ended: told of every slot that ended, after what it had under way was dropped.
    """

    def __init__(
        self,
        name: str,
        router: Router,
        calls: Calls,
        timers: Timers,
        deliver: Callable[[Input], None],
        on_ended: Callable[[c.Ended], None],
    ) -> None:
        self._name = name
        self._router = router
        self._calls = calls
        self._timers = timers
        self._deliver = deliver
        self._on_ended = on_ended
        self._pending_calls: dict[str, dict[int, Callable[[], None]]] = {}
        self._pending_timers: dict[str, dict[int, Timer]] = {}
        self._performers: effects.Performers = {
            c.Call: self._call,
            c.CancelCall: self._cancel_call,
            c.StartTimer: self._start_timer,
            c.CancelTimer: self._cancel_timer,
            c.Send: partial(effects.send, router),
            c.Spawn: lambda command: router.spawn(effects.spawn_request(command)),
            c.Control: partial(effects.control, router),
            c.Name: partial(effects.name, router),
            c.Ask: partial(effects.ask, router),
            c.Tell: partial(effects.tell, router),
            c.Log: effects.log,
            c.Signal: lambda command: router.deliver(inputs.signal(command.pid, command.event)),
            c.Answer: lambda command: router.deliver(inputs.answer(*command)),
            c.Ended: self.ended,
            c.DeadLetter: lambda command: router.dead_letters.add(*command),
            c.Parcel: router.hand_over,
            c.Value: lambda command: None,
            c.Upgrade: lambda command: self._drop(command.pid),
        }

    def perform(self, commands: list[c.Command]) -> None:
        """Do what the commands ask for, in their order."""
        performers = self._performers
        for command in commands:
            try:
                performers[type(command)](command)
            except Exception as error:
                # One command that we cannot perform must not take its batch along.
                logger.exception("%s: cannot perform %r", self._name, command)
                seq = getattr(command, "seq", None)
                if seq is not None and not isinstance(command, (c.Answer, c.Result)):
                    failure = PerdureError(Kind.INTERNAL, f"{type(error).__name__}: {error}")
                    self._router.refuse((command.pid, seq), failure)

    def ended(self, command: c.Ended) -> None:
        """A slot ended: drop what it had under way."""
        self._drop(command.pid)
        self._on_ended(command)

    def lost(self, prefix: str) -> None:
        """The slots whose PIDs begin with `prefix` are gone: drop what they had under way."""
        for pid in [*self._pending_calls, *self._pending_timers]:
            if pid.startswith(prefix):
                self._drop(pid)
        self._router.lost(prefix)

    def _drop(self, pid: str) -> None:
        for cancel in list(self._pending_calls.pop(pid, {}).values()):
            cancel()
        for timer in list(self._pending_timers.pop(pid, {}).values()):
            self._timers.cancel(timer)

    def _call(self, command: c.Call) -> None:
        calls = self._pending_calls.setdefault(command.pid, {})
        pid, seq = command.pid, command.seq
        over = False

        def done(ok: bool, value: bytes) -> None:
            nonlocal over
            over = True
            calls.pop(seq, None)
            self._deliver(inputs.answer(pid, seq, ok, value))

        cancel = self._calls.start(
            command.target,
            command.args,
            command.context,
            done,
            options=command.options,
            caller=pid,
        )
        calls[seq] = cancel
        if over:
            # On another thread, or before `start` came back.
            calls.pop(seq, None)

    def _cancel_call(self, command: c.CancelCall) -> None:
        cancel = self._pending_calls.get(command.pid, {}).pop(command.seq, None)
        if cancel is not None:
            cancel()

    def _start_timer(self, command: c.StartTimer) -> None:
        timers = self._pending_timers.setdefault(command.pid, {})
        pid, seq = command.pid, command.seq

        def fire() -> None:
            timers.pop(seq, None)
            self._deliver(inputs.answer(pid, seq, True, NIL))

        timer = self._timers.add(self._timers.clock.monotonic() + command.ns, fire)
        timers[seq] = timer
        if timer.callback is None:
            # It has fired meanwhile.
            timers.pop(seq, None)

    def _cancel_timer(self, command: c.CancelTimer) -> None:
        timer = self._pending_timers.get(command.pid, {}).pop(command.seq, None)
        if timer is not None:
            self._timers.cancel(timer)
