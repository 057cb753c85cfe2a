"""Function pools: VMs that run Lua functions which are called from outside of their VM.

The shared pool runs every function without a pool of its own, many calls side by side in one VM. A
function's own pool runs one call in each VM, so that what it computes holds up nobody; further
calls wait in a queue. It is full when each of its VMs runs a call and it may have no more of them.
A call from inside a full pool, directly or by way of other calls, is UNAVAILABLE: in the queue it
would wait for itself. So is one into a pool that waits for the caller's.
"""

from __future__ import annotations

import threading
from collections import deque

from hosts.calls import HOST, Calls, pool_id
from hosts.clients import Clients
from hosts.deployed import Deployed
from hosts.performer import Performer
from hosts.process.queues import PoolQueues
from hosts.process.vms import Vms
from hosts.process.worker import Loss, ProcessWorker
from hosts.timers import Timers
from runtime import commands as c
from runtime import inputs
from runtime.errors import Kind, PerdureError
from runtime.inputs import Input
from runtime.routing.router import Router, SpawnRequest, reply_of

#: Instructions that a function may run without waiting, and bytes of a VM, as for process.host.
_FUEL = 100_000_000
_MEMORY = 1 << 29


class FunctionPool:
    """One pool; a host to the router.

    Args:
        entry: the function that has it for its own, or "" for the shared one.
        size: VMs, at most.
        eager: whether all of them are made at the start; else one is made when a call finds none
            free.
    """

    def __init__(
        self,
        entry: str,
        deployed: Deployed,
        boot: int,
        router: Router,
        clients: Clients,
        calls: Calls,
        timers: Timers,
        queues: PoolQueues,
        *,
        size: int = 1,
        eager: bool = True,
    ) -> None:
        self.id = pool_id(entry) if entry else HOST
        self._entry = entry
        self._router = router
        self._clients = clients
        self._queues = queues
        self._size = size
        self._eager = eager
        performer = Performer(self.id, router, calls, timers, self.deliver, self._ended)
        self._vms = Vms(
            self.id, boot, deployed, router, timers.clock, performer, fuel=_FUEL, memory=_MEMORY
        )
        self._lock = threading.RLock()
        self._open = False
        self._free: list[ProcessWorker] = []
        self._busy: dict[str, ProcessWorker] = {}
        self._queue: deque[SpawnRequest] = deque()

    def start(self) -> None:
        """Take calls."""
        with self._lock:
            self._open = True
            if self._eager:
                self._free = [self._launch() for _ in range(self._size)]
        self._router.attach(self)

    def stop(self) -> None:
        """End every call; whoever waits for one hears CANCELED."""
        with self._lock:
            self._open = False
            waiting, self._queue = list(self._queue), deque()
        for request in waiting:
            self._queues.leave(self.id, request.within)
            self._router.refuse_spawn(request, self._closed())
        self._router.detach(self)
        self._vms.end()

    def resize(self, size: int, eager: bool) -> None:
        """Have another number of VMs from now on; one that runs a call ends with it.

        size: 0 when the function has no pool of its own any more. A call that comes nevertheless
            was on its way, and gets a VM.
        """
        with self._lock:
            self._size, self._eager = size, eager
            while self._free and len(self._vms.workers) > size:
                self._vms.dismiss(self._free.pop())
            while self._open and len(self._vms.workers) < size and (eager or self._queue):
                worker = self._launch()
                if self._queue:
                    request = self._queue.popleft()
                    self._queues.leave(self.id, request.within)
                    self._run(worker, request)
                else:
                    self._free.append(worker)

    def spawn(self, request: SpawnRequest) -> None:
        """Run a call: at once, or when a VM is free."""
        with self._lock:
            try:
                worker = self._worker(request)
            except PerdureError as error:
                self._router.refuse_spawn(request, error)
                return
            if worker is None:
                self._queue.append(request)
            else:
                self._run(worker, request)

    def deliver(self, item: Input) -> None:
        worker = self._vms.of(item[1])
        if worker is not None and item[0] != "outcome":
            worker.post(item)
            return
        gone = PerdureError(Kind.NOT_FOUND, f"process not found: {item[1]}")
        if item[0] == "outcome":
            self._router.refuse((item[2], item[3]), gone)
        elif item[0] in ("message", "control", "name"):
            if item[0] == "message":
                self._router.dead_letters.add(item[1], item[2], item[3])
            self._router.refuse(reply_of(item), gone)

    def lookup(self, name: str) -> str | None:
        return None

    def _worker(self, request: SpawnRequest) -> ProcessWorker | None:
        """A VM for the call; None when it has to wait for one."""
        if not self._open:
            raise self._closed()
        if not {"reply", "outcome"} <= request.start.keys():
            text = f"{self.id} is not a host: name a process.host, or call {request.entry}"
            raise PerdureError(Kind.INVALID, text)
        if not self._entry:
            return self._free[0]
        if request.entry != self._entry:
            text = f"{self.id} runs {self._entry} only, not {request.entry}"
            raise PerdureError(Kind.INVALID, text)
        if self._free:
            return self._free.pop()
        if len(self._vms.workers) < max(self._size, 1):
            return self._launch()
        if not self._queues.enter(self.id, request.within):
            text = (
                f"the pool of {self._entry} is full: its {self._size} VMs run a call each, and one "
                "of those waits for the caller of this one; give it more VMs (pool.workers of a "
                "static, pool.max_size of a lazy pool)"
            )
            raise PerdureError(Kind.UNAVAILABLE, text, True)
        return None

    def _run(self, worker: ProcessWorker, request: SpawnRequest) -> None:
        pid = self._vms.new_pid(worker)
        if self._entry:
            self._busy[pid] = worker
        worker.post(inputs.start(pid, request.entry, request.args, request.start))

    def _ended(self, command: c.Ended) -> None:
        with self._lock:
            worker = self._busy.pop(command.pid, None)
            if worker is None or not self._open:
                return
            while self._queue:
                request = self._queue.popleft()
                self._queues.leave(self.id, request.within)
                # Who called may have given up.
                if "outcome" not in request.start or self._clients.waits(request.start["outcome"]):
                    self._run(worker, request)
                    return
            if len(self._vms.workers) > self._size:
                self._vms.dismiss(worker)
            else:
                self._free.append(worker)

    def _launch(self) -> ProcessWorker:
        return self._vms.launch(lambda index, live, arrived: None, self._lost)

    def _lost(self, loss: Loss) -> None:
        """What waited for its calls has been told."""

    def _closed(self) -> PerdureError:
        return PerdureError(Kind.UNAVAILABLE, f"the node stops: {self.id} runs nothing new", True)
