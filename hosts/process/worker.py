"""A worker of processes or functions: inputs into its machine, commands out to its host."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from hosts.process.placement import UNLIMITED
from hosts.process.ties import Tie, Ties
from hosts.vm_worker import Item, VmWorker
from runtime import inputs
from runtime.commands import Command
from runtime.errors import Kind, PerdureError
from runtime.inputs import Input, ReplyTo
from runtime.lua.machine import Definition, Machine, as_maps
from runtime.parcels import unpacked

logger = logging.getLogger(__name__)

#: Seconds in which a worker that was told to end does so, unless its Lua code runs without fuel.
_ENDS_WITHIN: Final = 1.0


class Loss(NamedTuple):
    """A VM is gone, with all that was in it."""

    #: The PIDs of what was in it begin so.
    prefix: str
    ties: dict[str, Tie]
    #: What it got and did not get to.
    inputs: list[Input]
    error: PerdureError
    #: Messages that its inboxes dropped or refused.
    dropped: int = 0


class ProcessWorker(VmWorker):
    """One VM.

    Args:
        index: its place among the workers of its host.
        make_machine: builds a VM, with its entries defined, and gives the prefix of its PIDs;
            called again when the VM is lost.
        perform: gives the commands their meaning.
        room: processes that the VM may hold before spawns have to ask the host.
        on_turn: told, with the index, how many processes there are now, and how many of those
            that were sent here have arrived.
        on_lost: told what was lost; also of what there still is when the worker ends.
    """

    def __init__(
        self,
        name: str,
        index: int,
        make_machine: Callable[[], tuple[str, Machine]],
        perform: Callable[[list[Command]], None],
        on_turn: Callable[[int, int, int], None],
        on_lost: Callable[[Loss], None],
        room: Callable[[int], int] = lambda index: UNLIMITED,
    ) -> None:
        super().__init__(name)
        self.index = index
        self._make_machine = make_machine
        self._perform = perform
        self._on_turn = on_turn
        self._on_lost = on_lost
        self._room = room
        self._told = UNLIMITED
        self._ties = Ties()
        self._closing = False
        self._ended = threading.Event()
        self.prefix, self._machine = make_machine()

    def turn(self, items: list[Item]) -> bool:
        batch = _inputs(items)
        room = self._room(self.index)
        if room != self._told:
            self._told = room
            batch.insert(0, inputs.room(room))
        try:
            more, commands = self._machine.step(batch)
        except Exception as error:
            # At its memory cap, or broken by a fault of ours: nothing in it can be trusted.
            text = f"{self.name}: {error}; the VM was replaced, what was in it is gone"
            self._replace(_unpacked(batch), PerdureError(Kind.INTERNAL, text))
            return False
        self._ties.note(batch, commands)
        # Counted first: whoever hears of an end may at once spawn in its place.
        self._count(batch)
        self._perform(commands)
        if self._closing:
            self.stop()
        return more

    def redefine(
        self, changed: Mapping[str, Definition], gone: Sequence[str], reply: ReplyTo
    ) -> None:
        """Run what starts from now on by new definitions, and answer."""
        self.post(inputs.define(as_maps(changed), gone, reply))

    def end(self) -> None:
        """End the worker once it has done what it was given; what it holds then is lost."""
        self.post(self._close)

    def join(self) -> None:
        """Wait for the end, unless Lua code without fuel does not let go of the thread."""
        if not self._ended.wait(_ENDS_WITHIN):
            logger.warning("%s does not come back from its Lua code: it is left alone", self.name)

    def left_over(self, items: list[Item]) -> None:
        batch = _unpacked(_inputs(items))
        error = PerdureError(Kind.CANCELED, f"{self.name} was stopped")
        ties, self._ties = self._ties, Ties()
        self._on_lost(Loss(self.prefix, ties.by_pid, batch, error, self.count_dropped()))
        self._ended.set()

    def _close(self) -> None:
        self._closing = True

    def _count(self, batch: list[Input]) -> None:
        arrived = sum(item[0] == "start" for item in batch)
        self._on_turn(self.index, self._machine.live, arrived)

    @property
    def dropped(self) -> int:
        """Messages that full inboxes dropped or refused in this VM."""
        return self._machine.dropped

    def count_dropped(self) -> int:
        """The same, once: what is told here is not counted again."""
        dropped, self._machine.dropped = self._machine.dropped, 0
        return dropped

    def _replace(self, batch: list[Input], error: PerdureError) -> None:
        loss = Loss(self.prefix, self._ties.by_pid, batch, error, self.count_dropped())
        self._ties = Ties()
        self._told = UNLIMITED
        self.prefix, self._machine = self._make_machine()
        self._count(batch)
        self._on_lost(loss)


def _inputs(items: list[Item]) -> list[Input]:
    """Do what is to be done on the worker's thread; the rest is for the machine."""
    batch: list[Input] = []
    for item in items:
        if callable(item):
            item()
        else:
            batch.append(item)
    return batch


def _unpacked(batch: list[Input]) -> list[Input]:
    """A batch whose parcels are taken apart."""
    return [
        item
        for each in batch
        for item in (unpacked(each[2], each[3]) if each[0] == "parcel" else [each])
    ]
