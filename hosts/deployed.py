"""What is deployed on a node: its registry, and the Lua definitions that every VM has.

Both are replaced whole, never changed, so whoever reads one sees a state that there was.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Any, Final, Protocol, TypeVar

from hosts.clients import Clients
from hosts.definitions import definitions
from runtime.config.registry import Registry
from runtime.inputs import ReplyTo
from runtime.lua.machine import Definition

logger = logging.getLogger(__name__)

#: Seconds that a change waits for VMs whose Lua code does not let go. They take it up when it does,
#: ahead of everything that comes to them from outside after the change.
_TAKEN_WITHIN: Final = 10.0


class Vm(Protocol):
    """A VM worker, which has definitions of its own."""

    name: str

    def redefine(
        self, changed: Mapping[str, Definition], gone: Sequence[str], reply: ReplyTo
    ) -> None:
        """Run what starts from now on by new definitions, and answer; from any thread."""
        ...


VmT = TypeVar("VmT", bound=Vm)


class Deployed:
    """What is deployed now. Safe to read from any thread; one thread may change it at a time."""

    def __init__(self, registry: Registry, clients: Clients) -> None:
        self.registry = registry
        self.definitions: Mapping[str, Definition] = definitions(registry)
        self._clients = clients
        self._vms: set[Vm] = set()
        self._lock = threading.Lock()

    def option(self, entry: str, name: str) -> Any:
        """What a workflow's entry says now, None where it is gone."""
        registry = self.registry
        return registry.get(entry).data[name] if entry in registry else None

    def retry_of(self, target: str) -> Any:
        """`meta.options.retry` of a function's entry, or None."""
        registry = self.registry
        options = registry.get(target).meta.get("options") if target in registry else None
        return options.get("retry") if isinstance(options, dict) else None

    def join(self, make: Callable[[], VmT]) -> VmT:
        """Make a VM worker, from the definitions of now; it hears of every change from then on."""
        with self._lock:
            vm = make()
            self._vms.add(vm)
        return vm

    def leave(self, vm: Vm) -> None:
        """A VM worker has ended."""
        with self._lock:
            self._vms.discard(vm)

    def switch(self, registry: Registry) -> None:
        """Deploy a registry; when this is back, whatever starts runs the new code.

        What runs goes on with the code it began with.
        """
        new = definitions(registry)
        with self._lock:
            old, self.definitions, self.registry = self.definitions, new, registry
            vms = list(self._vms)
        changed = {each: new[each] for each in new if new[each] != old.get(each)}
        gone = sorted(old.keys() - new.keys())
        taken: dict[Future[bool], str] = {}
        for vm in vms:
            done: Future[bool] = Future()
            taken[done] = vm.name
            reply = self._clients.expect(lambda ok, value, done=done: done.set_result(ok))  # type: ignore[misc]
            vm.redefine(changed, gone, reply)
        for late in wait_for(taken, _TAKEN_WITHIN).not_done:
            logger.warning(
                "%s has not taken up the new code within %g s: it does when its Lua code waits",
                taken[late],
                _TAKEN_WITHIN,
            )
