"""Inline Lua functions as activities: they run in the VM of the run that called them.

So a round trip needs no other thread: once its scheduling is on disk the function runs in the same
turn, and its result goes to the disk together with the step that follows from it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from hosts.calls import Calls, Cancel
from hosts.clients import Done
from hosts.limits import Limits
from hosts.performer import Performer
from hosts.timers import Timer, Timers
from runtime import commands as c
from runtime import inputs
from runtime.codec import encode
from runtime.errors import Kind, PerdureError
from runtime.inputs import Input
from runtime.routing.router import Router, SpawnRequest

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

#: Reply address of function slots: their results never leave the shard.
_RESULTS: Final = "{results|inline}"


class _Call:
    __slots__ = ("done", "pid", "timeout", "timer")

    def __init__(self, done: Done, pid: str, timeout: int | None) -> None:
        self.done = done
        self.pid = pid
        self.timeout = timeout  #: nanoseconds
        self.timer: Timer | None = None


class InlineFunctions:
    """Function slots in a shard's machine; a host of its own to the router, for their PIDs.

    Every method but `deliver` runs on the shard's thread.
    """

    def __init__(
        self, host_id: str, shard: Shard, router: Router, calls: Calls, timers: Timers
    ) -> None:
        self.id = host_id
        self._shard = shard
        self._router = router
        self._timers = timers
        self._calls: dict[int, _Call] = {}
        self._fresh: list[int] = []
        self._numbers = itertools.count(1)
        self._performer = Performer(
            host_id, router, calls, timers, self.deliver, lambda command: None
        )
        #: Inputs for the next step of the machine.
        self.inputs: list[Input] = []

    def start(
        self,
        target: str,
        args: bytes,
        context: bytes,
        done: Done,
        limits: Limits,
        patient: bool,
    ) -> Cancel:
        """Run a function at the next step of the machine; `done` hears its end once.

        Args:
            limits: it begins at once, and beats by itself: `total` and `running` count.
            patient: as in `Calls.attempt`.
        """
        timeout_ns = min(
            (each for each in (limits.total, limits.running) if each is not None), default=None
        )
        number = next(self._numbers)
        pid = f"{{{self.id}|{number:#x}}}"
        self._calls[number] = _Call(done, pid, timeout_ns)
        self._fresh.append(number)
        self.inputs.append(
            inputs.start(pid, target, args, {"outcome": (_RESULTS, number), "context": context})
        )
        if patient:
            return partial(self._ask_to_end, number)
        canceled = PerdureError(Kind.CANCELED, "canceled")
        return partial(self._give_up, number, canceled)

    def _ask_to_end(self, number: int) -> None:
        call = self._calls.get(number)
        if call is not None:
            self.inputs.append(inputs.control(call.pid, "cancel", "", None))

    def _give_up(self, number: int, error: PerdureError) -> None:
        call = self._calls.pop(number, None)
        if call is not None:
            self.inputs.append(inputs.control(call.pid, "abandon", "", error.message))
            call.done(False, encode(error))

    def lost(self, error: PerdureError) -> None:
        """The VM is gone with every function that ran in it."""
        calls, self._calls = self._calls, {}
        self.inputs.clear()
        self._fresh.clear()
        self._performer.lost(f"{{{self.id}|")
        for call in calls.values():
            call.done(False, encode(error))

    def take(self) -> list[Input]:
        """The inputs for the step that begins now."""
        taken, self.inputs = self.inputs, []
        return taken

    def perform(self, commands: list[c.Command]) -> None:
        """Handle what the function slots did in a step."""
        others: list[c.Command] = []
        for command in commands:
            if isinstance(command, c.Answer) and command.pid == _RESULTS:
                call = self._calls.pop(command.seq, None)
                if call is not None:
                    if call.timer is not None:
                        self._timers.cancel(call.timer)
                    call.done(command.ok, command.value)
            else:
                others.append(command)
        self._performer.perform(others)
        # Most functions have ended in the step that they began in, and need no timer.
        for number in self._fresh:
            call = self._calls.get(number)
            if call is not None and call.timeout is not None:
                text = f"the function did not return within {call.timeout / 1e9:g}s"
                give_up: Callable[[], None] = partial(
                    self._give_up, number, PerdureError(Kind.TIMEOUT, text)
                )
                due = self._timers.clock.monotonic() + call.timeout
                call.timer = self._timers.add(due, partial(self._shard.post, give_up))
        self._fresh.clear()

    # As a host

    def deliver(self, item: Input) -> None:
        """An input for a function slot; from any thread."""
        self._shard.post(partial(self._take_in, item))

    def _take_in(self, item: Input) -> None:
        self.inputs.append(item)

    def spawn(self, request: SpawnRequest) -> None:
        """Nothing can be spawned here."""
        error = PerdureError(Kind.INVALID, f"{self.id} is not a host")
        self._router.refuse_spawn(request, error)

    def lookup(self, name: str) -> str | None:
        return None
