"""Inline Lua functions as activities: they run in the VM of the run that called them.

So a round trip needs no other thread: once its scheduling is on disk the function runs in the same
turn, and its result goes to the disk together with the step that follows from it.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

from hosts.calls import Calls, Cancel
from hosts.clients import Done
from hosts.performer import Performer
from hosts.timers import Timer, Timers
from runtime import commands as c
from runtime import inputs
from runtime.codec import encode
from runtime.errors import Kind, PerdureError
from runtime.inputs import Input, Packed
from runtime.routing.router import Router, SpawnRequest

if TYPE_CHECKING:
    from hosts.durable.shard import Shard


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
        self._calls: dict[int, Done] = {}
        #: Of those that began in this step: ns that they may take.
        self._fresh: dict[int, int] = {}
        self._limits: dict[int, Timer] = {}
        self._numbers = itertools.count(1)
        self._performer = Performer(
            host_id, router, calls, timers, self.deliver, lambda command: None
        )
        #: Inputs for the next step of the machine.
        self.inputs: list[Input | Packed] = []

    def start(
        self,
        target: str,
        args: bytes,
        context: bytes,
        done: Done,
        timeout: int,
        patient: bool,
    ) -> Cancel:
        """Run a function at the next step of the machine; `done` hears its end once.

        Args:
            timeout: nanoseconds.
            patient: as in `Calls.attempt`.
        """
        number = next(self._numbers)
        self._calls[number] = done
        self._fresh[number] = timeout
        self.inputs.append(inputs.call(number, target, args, context))
        return partial(self._ask_to_end if patient else self._cancel, number)

    def _ask_to_end(self, number: int) -> None:
        if number in self._calls:
            self.inputs.append(inputs.end_call(number, "cancel"))

    def _cancel(self, number: int) -> None:
        self._give_up(number, PerdureError(Kind.CANCELED, "canceled"))

    def _give_up(self, number: int, error: PerdureError) -> None:
        if number in self._calls:
            self.inputs.append(inputs.end_call(number, "abandon", error.message))
            self._over(number, False, encode(error))

    def _over(self, number: int, ok: bool, value: bytes) -> None:
        done, limit = self._calls.pop(number, None), self._limits.pop(number, None)
        if limit is not None:
            self._timers.cancel(limit)
        if done is not None:
            done(ok, value)

    def lost(self, error: PerdureError) -> None:
        """The VM is gone with every function that ran in it."""
        self.inputs.clear()
        self._fresh.clear()
        self._performer.lost(f"{{{self.id}|")
        for number in list(self._calls):
            self._over(number, False, encode(error))

    def take(self) -> list[Input | Packed]:
        """The inputs for the step that begins now."""
        taken, self.inputs = self.inputs, []
        return taken

    def perform(self, commands: list[c.Command]) -> None:
        """Handle what the function slots did in a step."""
        others: list[c.Command] = []
        for command in commands:
            if type(command) is c.Result:
                number, ok, value = command
                self._over(number, ok, value)
            else:
                others.append(command)
        if others:
            self._performer.perform(others)
        # Most functions have ended in the step that they began in, and need no timer.
        fresh, self._fresh = self._fresh, {}
        for number, timeout in fresh.items():
            if number in self._calls:
                text = f"the function did not return within {timeout / 1e9:g}s"
                give_up = partial(self._give_up, number, PerdureError(Kind.TIMEOUT, text))
                due = self._timers.clock.monotonic() + timeout
                self._limits[number] = self._timers.add(due, partial(self._shard.post, give_up))

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
