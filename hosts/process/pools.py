"""The function pools of a node: the shared one, and those of functions with one of their own."""

from __future__ import annotations

from typing import NamedTuple

from hosts.calls import Calls
from hosts.clients import Clients
from hosts.deployed import Deployed
from hosts.process.pool import FunctionPool
from hosts.process.queues import PoolQueues
from hosts.timers import Timers
from runtime.config.registry import Entry, Registry
from runtime.routing.router import Router


class _Size(NamedTuple):
    vms: int
    eager: bool


class FunctionPools:
    """Pools as the deployed registry wants them. One thread at a time may start, fit and stop."""

    def __init__(
        self,
        deployed: Deployed,
        boot: int,
        router: Router,
        clients: Clients,
        calls: Calls,
        timers: Timers,
    ) -> None:
        self._deployed = deployed
        self._boot = boot
        self._router = router
        self._clients = clients
        self._calls = calls
        self._timers = timers
        self._queues = PoolQueues()
        self._pools: dict[str, FunctionPool] = {}
        self._running = False

    def start(self) -> None:
        """Take calls."""
        self._running = True
        self._make("", _Size(1, True))
        self.fit(self._deployed.registry)

    def stop(self) -> None:
        """End every call."""
        self._running = False
        for pool in self._pools.values():
            pool.stop()
        self._pools.clear()

    def fit(self, registry: Registry) -> None:
        """Make the pools that are missing, and resize the others; a call under way goes on.

        A function without a pool of its own any more leaves one behind that is empty.
        """
        if not self._running:
            return
        wanted = {
            entry.id: size
            for entry in registry.of_kind("function.lua")
            if (size := _size(entry)) is not None
        }
        for entry_id, size in wanted.items():
            if entry_id in self._pools:
                self._pools[entry_id].resize(*size)
            else:
                self._make(entry_id, size)
        for entry_id, pool in self._pools.items():
            if entry_id and entry_id not in wanted:
                pool.resize(0, False)

    def _make(self, entry_id: str, size: _Size) -> None:
        pool = FunctionPool(
            entry_id, self._deployed, self._boot, self._router, self._clients, self._calls,
            self._timers, self._queues, size=size.vms, eager=size.eager,
        )  # fmt: skip
        self._pools[entry_id] = pool
        pool.start()


def _size(entry: Entry) -> _Size | None:
    """The pool of its own that a function has, None where it has none."""
    pool = entry.data["pool"]
    if pool["type"] == "static":
        return _Size(pool["workers"], True)
    if pool["type"] == "lazy":
        return _Size(pool["max_size"], False)
    return None
