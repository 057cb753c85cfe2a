"""A worker of the process host: inputs into its machine, commands out to the host."""

from __future__ import annotations

from collections.abc import Callable

from hosts.vm_worker import Item, VmWorker
from runtime.commands import Command
from runtime.errors import Kind, PerdureError
from runtime.inputs import Input
from runtime.lua.machine import Machine, OutOfMemoryError

#: Performs a batch of commands that came out of a worker's machine.
Perform = Callable[[list[Command]], None]


class ProcessWorker(VmWorker):
    """One VM of processes.

    Args:
        make_machine: builds the VM, with its entries defined; called again when it hit its cap.
        perform: gives the commands their meaning.
        on_lost: told, with the reason, that every process of the VM is gone.
    """

    def __init__(
        self,
        name: str,
        make_machine: Callable[[], Machine],
        perform: Perform,
        on_lost: Callable[[PerdureError], None],
    ) -> None:
        super().__init__(name)
        self._make_machine = make_machine
        self._perform = perform
        self._on_lost = on_lost
        self.machine = make_machine()

    def turn(self, items: list[Item]) -> bool:
        inputs: list[Input] = []
        for item in items:
            if callable(item):
                item()
            else:
                inputs.append(item)
        try:
            more, commands = self.machine.step(inputs)
        except OutOfMemoryError as error:
            self.machine = self._make_machine()
            self._on_lost(
                PerdureError(
                    Kind.INTERNAL,
                    f"{self.name}: {error}; the VM was replaced, its processes are gone",
                )
            )
            return False
        self._perform(commands)
        return more
