"""The process host: processes in VM workers, whose commands it performs at once."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from hosts import effects
from hosts.calls import Calls
from hosts.clients import Clients
from hosts.performer import Performer
from hosts.process.worker import ProcessWorker
from hosts.timers import Timers
from runtime import commands as c
from runtime import inputs
from runtime.codec import encode
from runtime.errors import Kind, PerdureError
from runtime.inputs import Input, ReplyTo
from runtime.lua.machine import Definition, Machine
from runtime.routing.router import Router, SpawnRequest, reply_of

logger = logging.getLogger(__name__)

#: Results of ended processes that are kept for `result`.
KEPT_RESULTS: Final = 10_000

#: A PID's number is boot << 40 | worker << 32 | serial; the host gives numbers from here on
#: itself, to processes that hold a name before they start.
_HOST_SERIAL: Final = 1 << 31
_WORKER_SHIFT: Final = 32
_BOOT_SHIFT: Final = 40


class ProcessHost:
    """A `process.host` service.

    Args:
        host_id: its entry id.
        definitions: Lua entries by id.
        boot: boot number of the node, part of every PID.
        workers: number of VM workers.
        fuel: instructions a process may run without yielding; 0 for no limit.
        memory: bytes of a VM at which the process that grew it is killed.
        terminal: gets what the module `io` writes, or None where there is no terminal.
    """

    def __init__(
        self,
        host_id: str,
        definitions: dict[str, Definition],
        boot: int,
        router: Router,
        clients: Clients,
        calls: Calls,
        timers: Timers,
        *,
        workers: int = 1,
        fuel: int = 100_000_000,
        memory: int = 1 << 29,
        stop_timeout: float = 10.0,
        terminal: Callable[[bytes], None] | None = None,
    ) -> None:
        self.id = host_id
        self._definitions = definitions
        self._boot = boot
        self._router = router
        self._clients = clients
        self._timers = timers
        self._worker_count = workers
        self._fuel = fuel
        self._memory = memory
        self._stop_timeout = stop_timeout
        self._workers: list[ProcessWorker] = []
        self._turn = itertools.count()
        self._serials = itertools.count(_HOST_SERIAL)
        self._lock = threading.Lock()
        self._results: OrderedDict[str, tuple[bool, bytes]] = OrderedDict()
        self._result_waiters: dict[str, list[ReplyTo]] = {}
        #: Watchers from elsewhere by PID, told when a VM is lost with all that it knew.
        self._watched: dict[str, list[str]] = {}
        self._stopping = False
        self._performer = Performer(
            host_id, router, calls, timers, self.deliver, self._ended, terminal
        )

    # As a service ---------------------------------------------------------------------------------

    def attach(self, on_exit: Callable[[PerdureError | None], None]) -> None:
        """A process host does not end by itself."""

    def start(self) -> None:
        """Start the VM workers and become reachable."""
        self._stopping = False
        self._workers = []
        for index in range(self._worker_count):
            ref = ProcessWorker.start(
                f"{self.id} worker {index}",
                self._machine_maker(index),
                self._performer.perform,
                self._lost_maker(index),
            )
            worker = ref._actor_weakref()
            assert worker is not None
            self._workers.append(worker)
        self._router.attach(self)

    def stop(self) -> None:
        """CANCEL to every process, then, after the stop timeout, the end."""
        if not self._workers:
            return
        self._stopping = True
        for worker in self._workers:
            worker.post(inputs.control_all("cancel", "the node stops"))
        deadline = self._timers.clock.monotonic() + int(self._stop_timeout * 1e9)
        wait = threading.Event()
        while self.processes() and self._timers.clock.monotonic() < deadline:
            wait.wait(0.02)
        for worker in self._workers:
            worker.post(inputs.control_all("terminate"))
        self.processes()
        self._router.detach(self)
        for worker in self._workers:
            worker.actor_ref.stop()
        self._workers = []

    def processes(self) -> list[dict[str, Any]]:
        """Who lives here: pid, entry, waiting messages, parent, names."""
        rows: list[dict[str, Any]] = []
        for worker in self._workers:
            listed = self._clients.ask(
                lambda reply, worker=worker: worker.post(inputs.listing(reply)),  # type: ignore[misc]
                10.0,
                f"list of the processes of {self.id}",
            )
            rows += [
                {
                    "pid": pid,
                    "entry": entry,
                    "waiting": waiting,
                    "parent": parent,
                    "names": self._router.names.of(pid),
                }
                for pid, entry, waiting, parent in listed
            ]
        return rows

    # As a host ------------------------------------------------------------------------------------

    def deliver(self, item: Input) -> None:
        kind, pid = item[0], item[1]
        if kind == "outcome":
            self._outcome(pid, (item[2], item[3]))
            return
        worker = self._worker_of(pid)
        if worker is not None:
            worker.post(item)
        elif kind in ("message", "control"):
            self._router.refuse(
                reply_of(item), PerdureError(Kind.NOT_FOUND, f"process not found: {pid}")
            )

    def spawn(self, request: SpawnRequest) -> None:
        definition = self._definitions.get(request.entry)
        start = request.start
        if self._stopping or not self._workers:
            error = PerdureError(Kind.UNAVAILABLE, f"{self.id} is stopping: it starts nothing new")
            self._refuse(request, error)
            return
        if definition is None or definition.kind not in ("process.lua", "function.lua"):
            found = "does not exist" if definition is None else f"is a {definition.kind}"
            kind = Kind.NOT_FOUND if definition is None else Kind.INVALID
            error = PerdureError(
                kind, f"{request.entry} {found}: {self.id} is a process.host and runs process.lua"
            )
            self._refuse(request, error)
            return
        start["process"] = definition.kind == "process.lua"
        index = next(self._turn) % len(self._workers)
        pid = None
        if request.name is not None:
            pid = f"{{{self.id}|{self._number(index) + next(self._serials):#07x}}}"
            try:
                self._router.names.register(request.name, pid)
            except PerdureError as error:
                self._name_taken(request, error)
                return
            start["named"] = True
        if start.get("watchers") and pid is None:
            pid = f"{{{self.id}|{self._number(index) + next(self._serials):#07x}}}"
        if pid is not None and start.get("watchers"):
            self._watched[pid] = list(start["watchers"])
        self._workers[index].post(inputs.start(pid, request.entry, request.args, start))

    def lookup(self, name: str) -> str | None:
        return None

    def _refuse(self, request: SpawnRequest, error: PerdureError) -> None:
        for key in ("reply", "outcome"):
            self._router.refuse(request.start.get(key), error)  # type: ignore[arg-type]

    def _name_taken(self, request: SpawnRequest, error: PerdureError) -> None:
        """A live holder of the name takes the place of the new process."""
        if error.kind != Kind.ALREADY_EXISTS:
            self._refuse(request, error)
            return
        pid = error.details["pid"]
        start = request.start
        for topic, args in start.get("messages", ()):
            self._router.deliver(inputs.message(pid, topic, start.get("parent", ""), args))
        for verb, peers in (("monitor", "watchers"), ("link", "links")):
            for peer in start.get(peers, ()):  # type: ignore[attr-defined]
                self._router.deliver(inputs.control(pid, verb, peer, None))
        if "outcome" in start:
            self._outcome(pid, start["outcome"])
        self._router.answer(start.get("reply"), encode(pid))

    def _worker_of(self, pid: str) -> ProcessWorker | None:
        try:
            number = int(pid[pid.index("|") + 1 : -1], 16)
        except ValueError:
            return None
        index = (number >> _WORKER_SHIFT) & 0xFF
        if number >> _BOOT_SHIFT != self._boot or index >= len(self._workers):
            return None
        return self._workers[index]

    def _number(self, index: int) -> int:
        return self._boot << _BOOT_SHIFT | index << _WORKER_SHIFT

    def _machine_maker(self, index: int) -> Callable[[], Machine]:
        serial = itertools.count(1)

        def make() -> Machine:
            # A replaced VM goes on in a range of its own, so that no PID comes twice.
            first = self._number(index) + (next(serial) - 1) * (1 << 24) + 1
            machine = Machine(
                self.id, first, self._timers.clock, fuel=self._fuel, memory=self._memory
            )
            machine.define(self._definitions)
            return machine

        return make

    def _lost_maker(self, index: int) -> Callable[[PerdureError], None]:
        def lost(error: PerdureError) -> None:
            logger.error("%s", error)
            for pid, watchers in list(self._watched.items()):
                if self._worker_of(pid) is self._workers[index]:
                    event = {
                        "kind": "pid.exit",
                        "from": pid,
                        "at": self._timers.clock.wall(),
                        "result": {"error": error},
                    }
                    self._performer.ended(c.Ended(pid, False, encode(error)))
                    for watcher in watchers:
                        self._router.deliver(inputs.signal(watcher, encode(event)))

        return lost

    def _ended(self, command: c.Ended) -> None:
        pid = command.pid
        self._router.names.release(pid)
        self._watched.pop(pid, None)
        if not command.ok:
            effects.log_failure(command)
        with self._lock:
            self._results[pid] = (command.ok, command.value)
            if len(self._results) > KEPT_RESULTS:
                self._results.popitem(last=False)
            waiters = self._result_waiters.pop(pid, ())
        for reply in waiters:
            self._router.answer(reply, command.value, command.ok)

    def _outcome(self, pid: str, reply: ReplyTo) -> None:
        """Answer with the result of a process, now or when it ends."""
        with self._lock:
            result = self._results.get(pid)
            if result is None:
                waiters = self._result_waiters.setdefault(pid, [])
                waiters.append(reply)
        if result is not None:
            self._router.answer(reply, result[1], result[0])
            return

        def alive(ok: bool, value: bytes) -> None:
            if ok:
                return
            with self._lock:
                late = self._results.get(pid)
                waiting = reply in self._result_waiters.get(pid, ())
                if waiting and late is None:
                    self._result_waiters[pid].remove(reply)
            if waiting and late is None:
                self._router.answer(reply, value, False)

        # A process that is not there, and whose result is no longer kept, will never answer.
        self.deliver(inputs.control(pid, "probe", "", None, self._clients.expect(alive)))
