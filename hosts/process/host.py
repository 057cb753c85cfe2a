"""The process host: processes in VM workers, whose commands it performs at once.

Those in Python live beside the VMs, on threads of their own (`hosts.process.python`). With
`isolated` each process in Lua has a VM, which is made for it and goes with it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from hosts import effects
from hosts.calls import Calls
from hosts.clients import Clients
from hosts.deployed import Deployed
from hosts.functions import PythonFunctions
from hosts.performer import Performer
from hosts.process.placement import Placement
from hosts.process.python import PythonProcesses
from hosts.process.results import Result, Results
from hosts.process.vms import Home, Vms, put
from hosts.process.worker import Loss, ProcessWorker
from hosts.throttle import Throttle
from hosts.timers import Timers
from runtime import commands as c
from runtime import inputs
from runtime.codec import encode
from runtime.config.kinds import PROCESS_KINDS
from runtime.errors import Kind, PerdureError
from runtime.inbox import NO_LIMIT, InboxLimit
from runtime.inputs import Input, ReplyTo
from runtime.routing.router import Router, SpawnRequest, key_of, reply_of

logger = logging.getLogger(__name__)

#: Seconds that a VM has to answer who lives in it.
_LISTED_WITHIN: Final = 10.0

_NO_KEY: Final = "idempotency keys are for workflows, leave out the key"


class ProcessHost:
    """A `process.host` or `terminal.host` service.

    Args:
        host_id: its entry id.
        deployed: what it runs.
        python: the classes of the process.python entries.
        boot: boot number of the node, part of every PID.
        workers: number of VM workers.
        max_processes: processes that may live here at the same time; 0 for no limit.
        fuel: instructions a process may run without waiting; 0 for no limit.
        memory: bytes of a VM at which the process that grew it is killed; of an isolated one
            what it can have at all.
        inbox: how many messages may wait for a process.
        isolated: whether each process in Lua has a VM of its own; `workers` means nothing then.
        stop_timeout: seconds between CANCEL and the end.
        vm_numbers: numbers that no VM of a host with this id has had since the boot.
    """

    def __init__(
        self,
        host_id: str,
        deployed: Deployed,
        python: PythonFunctions,
        boot: int,
        router: Router,
        clients: Clients,
        calls: Calls,
        timers: Timers,
        *,
        workers: int = 1,
        max_processes: int = 0,
        fuel: int = 100_000_000,
        memory: int = 1 << 29,
        inbox: InboxLimit = NO_LIMIT,
        isolated: bool = False,
        stop_timeout: float = 10.0,
        vm_numbers: Iterator[int] | None = None,
    ) -> None:
        self.id = host_id
        self.stop_timeout = stop_timeout
        self._deployed = deployed
        self._python_targets = python
        self._router = router
        self._clients = clients
        self._calls = calls
        self._timers = timers
        self._worker_count = 0 if isolated else workers
        self._isolated = isolated
        self._inbox = inbox
        self._max_processes = max_processes
        self._results = Results(timers.clock, clients.waits)
        performer = Performer(host_id, router, calls, timers, self.deliver, self._ended)
        self._vms = Vms(
            host_id, boot, deployed, router, timers.clock, performer,
            fuel=fuel, memory=memory, inbox=inbox, isolated=isolated, numbers=vm_numbers,
        )  # fmt: skip
        self._placement = Placement(self._worker_count, max_processes)
        self._python = PythonProcesses(
            self._vms.new_prefix(), self._python_targets, self._router, self._clients, self._calls,
            self._timers, self._inbox, self._ended, self._left,
        )  # fmt: skip
        self._throttle = Throttle(timers.clock)
        self._stopping = threading.Event()
        self._emptied = threading.Event()

    # As a service ---------------------------------------------------------------------------------

    def attach(self, on_exit: Callable[[PerdureError | None], None]) -> None:
        """A process host does not end by itself."""

    def start(self) -> None:
        """Start the VM workers and become reachable."""
        self._stopping.clear()
        self._emptied.clear()
        self._placement = Placement(self._worker_count, self._max_processes)
        for _ in range(self._worker_count):
            self._vms.launch(self._turned, self._lost, lambda index: self._placement.room(index))
        self._vms.add(self._deployed.join(lambda: self._python))
        self._router.attach(self)

    def refuse_new(self) -> None:
        """Start nothing new from now on; what lives here goes on until `stop`."""
        self._stopping.set()
        if self._placement.close() == 0:
            self._emptied.set()
        for worker in self._vms.workers:
            worker.post(lambda: None)  # so that it asks how much room there is

    def stop(self) -> None:
        """CANCEL to every process, then, after the stop timeout, the end.

        A process that waits for messages, has nothing under way and never looked at its events
        would not hear: it ends at once.
        """
        self.refuse_new()
        for home in self._vms.homes():
            home.post(inputs.control_all("stop", "the node stops"))
        deadline = self._timers.clock.monotonic() + int(self.stop_timeout * 1e9)
        timer = self._timers.add(deadline, self._emptied.set)
        self._emptied.wait()
        self._timers.cancel(timer)
        if self.population:
            logger.warning(
                "%s: %d of its processes did not end within %gs of CANCEL: terminated",
                self.id, self.population, self.stop_timeout,
            )  # fmt: skip
        for home in self._vms.homes():
            home.post(inputs.control_all("terminate"))
            if isinstance(home, PythonProcesses):
                home.settle()  # who waits for a result hears of the end before the node is gone
        self._router.detach(self)
        self._deployed.leave(self._python)
        self._vms.end()

    @property
    def dropped(self) -> int:
        """Messages that full inboxes dropped or refused since the start."""
        python = (home for home in self._vms.homes() if isinstance(home, PythonProcesses))
        return self._vms.dropped + sum(home.dropped for home in python)

    @property
    def population(self) -> int:
        """How many processes live here."""
        return self._placement.population

    def processes(self) -> list[dict[str, Any]]:
        """Who lives here: pid, entry, waiting messages, parent, names."""
        rows: list[dict[str, Any]] = []
        for home in self._vms.homes():
            listed = self._clients.ask(
                lambda reply, home=home: put(home, inputs.listing(reply)),  # type: ignore[misc]
                _LISTED_WITHIN,
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
        home = self._vms.of(pid)
        if kind == "message" and isinstance(key_of(item), str):
            error = PerdureError(Kind.INVALID, f"{pid} is a process: {_NO_KEY}")
            self._router.refuse(reply_of(item), error)
        elif home is not None:
            put(home, item)
        elif kind in ("message", "control", "name"):
            if kind == "message":
                self._router.dead_letters.add(pid, item[2], item[3])
            gone = PerdureError(Kind.NOT_FOUND, f"process not found: {pid}")
            self._router.refuse(reply_of(item), gone)

    def spawn(self, request: SpawnRequest) -> None:
        try:
            self._check(request)
            if request.name is not None and (held := self._router.names.lookup(request.name)):
                self._name_taken(request, held)
                return
            home = self._home(request)
        except PerdureError as error:
            self._router.refuse_spawn(request, error)
            return
        start = request.start
        start["process"] = True
        pid = self._vms.new_pid(home)
        if request.name is not None:
            start["named"] = True
            try:
                self._router.names.register(request.name, pid)
            except PerdureError as error:
                self._give_back(home)
                if error.kind == Kind.ALREADY_EXISTS:
                    self._name_taken(request, error.details["pid"])
                else:
                    self._router.refuse_spawn(request, error)
                return
        put(home, inputs.start(pid, request.entry, request.args, start))

    def lookup(self, name: str) -> str | None:
        return None

    def _check(self, request: SpawnRequest) -> None:
        entry = request.entry
        if self._stopping.is_set():
            raise PerdureError(Kind.UNAVAILABLE, f"{self.id} is stopping: it starts nothing new")
        if request.key is not None:
            raise PerdureError(Kind.INVALID, f"{self.id} is a process.host: {_NO_KEY}")
        if request.settings:
            unknown = ", ".join(f'"{name}"' for name in sorted(map(str, request.settings)))
            text = f"{self.id} is a process.host, which has no spawn option {unknown}: leave it out"
            raise PerdureError(Kind.INVALID, text)
        if self._is_python(entry):
            return
        definition = self._deployed.definitions.get(entry)
        if definition is None or definition.kind != "process.lua":
            found = "does not exist" if definition is None else f"is a {definition.kind}"
            kind = Kind.NOT_FOUND if definition is None else Kind.INVALID
            kinds = " and ".join(PROCESS_KINDS)
            raise PerdureError(
                kind, f"{entry} {found}: {self.id} is a process.host and runs {kinds}"
            )

    def _is_python(self, entry: str) -> bool:
        registry = self._deployed.registry
        return entry in registry and registry.get(entry).kind == "process.python"

    def _home(self, request: SpawnRequest) -> Home:
        """Where the new process is going to live, which counts it from now on."""
        if self._is_python(request.entry) or self._isolated:
            if not self._placement.admit():
                raise self._full()
            return self._python if self._is_python(request.entry) else self._lone_vm()
        parent = self._vms.of(request.start.get("parent", ""))
        index = self._placement.place(parent.index if isinstance(parent, ProcessWorker) else None)
        if index is None:
            raise self._full()
        return self._vms.workers[index]

    def _give_back(self, home: Home) -> None:
        """The process is not going to come."""
        if isinstance(home, ProcessWorker) and not self._isolated:
            self._placement.give_back(home.index)
            return
        if isinstance(home, ProcessWorker):
            self._vms.dismiss(home)
        self._left()

    def _lone_vm(self) -> ProcessWorker:
        """A VM that goes with the first process that comes."""
        inhabited = False

        def turned(index: int, live: int, arrived: int) -> None:
            nonlocal inhabited
            inhabited = inhabited or arrived > 0
            if inhabited and live == 0:
                inhabited = False
                # Behind this turn, which has yet to tell of the end: until then its PID is known.
                worker.post(partial(self._vms.dismiss, worker))
                self._left()

        worker = self._vms.launch(turned, self._lost, lambda index: 0)
        return worker

    def _full(self) -> PerdureError:
        return PerdureError(
            Kind.UNAVAILABLE,
            f"{self.id} has {self._max_processes} processes, as many as its "
            "host.max_processes allows: raise it, or try again when some have ended",
            True,
        )

    def _name_taken(self, request: SpawnRequest, pid: str) -> None:
        """A live holder of the name takes the place of the new process."""

        def probed(ok: bool, value: bytes) -> None:
            if ok:
                self._take_place(request, pid)
            else:
                # It has ended meanwhile, and its names were free before that could be heard.
                self.spawn(request)

        probe = inputs.control(pid, "probe", "", None, self._clients.expect(probed))
        self._router.deliver(probe)

    def _take_place(self, request: SpawnRequest, pid: str) -> None:
        start = request.start
        for topic, args in start.get("messages", ()):
            self._router.deliver(inputs.message(pid, topic, start.get("parent", ""), args))
        for verb, peers in (("monitor", "watchers"), ("link", "links")):
            for peer in start.get(peers, ()):  # type: ignore[attr-defined]
                self._router.deliver(inputs.control(pid, verb, peer, None))
        if "outcome" in start:
            self._router.outcome(pid, start["outcome"])
        self._router.answer(start.get("reply"), encode(pid))

    def _turned(self, index: int, live: int, arrived: int) -> None:
        if self._placement.report(index, live, arrived) == 0 and self._stopping.is_set():
            self._emptied.set()

    def _left(self) -> None:
        """A process that lived in none of the shared VMs has ended."""
        if self._placement.leave() == 0 and self._stopping.is_set():
            self._emptied.set()

    def _lost(self, loss: Loss) -> None:
        for reply in self._results.take_waiting(loss.prefix):
            self._router.refuse(reply, loss.error)

    def _ended(self, command: c.Ended) -> None:
        self._router.names.release(command.pid)
        if not command.ok:
            effects.log_failure(command, self._throttle)
        result = Result(command.ok, command.value)
        for reply in self._results.add(command.pid, result):
            self._router.answer(reply, command.value, command.ok)

    def _outcome(self, pid: str, reply: ReplyTo) -> None:
        """Answer with the result of a process, now or when it ends."""
        result = self._results.get(pid, reply)
        if result is not None:
            self._router.answer(reply, result.value, result.ok)
            return

        def probed(ok: bool, value: bytes) -> None:
            if not ok and self._results.give_up(pid, reply):
                self._router.answer(reply, value, False)

        # A process that is not there, and whose result is no longer kept, will never answer.
        self.deliver(inputs.control(pid, "probe", "", None, self._clients.expect(probed)))
