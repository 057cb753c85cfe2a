"""A node: an application that runs in this process, and Python's way into it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pykka

from hosts.calls import Calls
from hosts.clients import Clients
from hosts.deployed import Deployed
from hosts.durable.host import WorkflowHost
from hosts.functions import PythonFunctions
from hosts.modules.env import Variables
from hosts.modules.events import EventBus
from hosts.modules.metrics import Metrics, Sample
from hosts.modules.registry import RegistryModule
from hosts.modules.stores import Stores
from hosts.modules.terminal import STANDARD, Streams, Terminal
from hosts.process.actor import ProcessActor
from hosts.process.host import ProcessHost
from hosts.process.pools import FunctionPools
from hosts.requests import Requests
from hosts.timers import Timers, TimerThread
from runtime.clock import Clock, SystemClock, timestamp
from runtime.codec import encode_args
from runtime.config.loader import Loaded, load
from runtime.config.problems import ConfigurationError
from runtime.errors import Kind, PerdureError
from runtime.routing.router import Router
from supervision import interpreter, runs
from supervision.build import Parts, build_services
from supervision.control.operations import Operations
from supervision.control.server import ControlServer
from supervision.data_folder import DataFolder, data_folder
from supervision.deploy import Deployer
from supervision.figures import figures
from supervision.lmdb_service import LmdbService, open_all
from supervision.messages import ServiceStatus
from supervision.preflight import preflight
from supervision.process_refs import ProcessRefs
from supervision.registry import Deployment, LiveRegistry
from supervision.service import Service
from supervision.supervisor import Progress, Supervisor

logger = logging.getLogger(__name__)


class Node:
    """An application, loaded and checked, that runs between `start` and `stop`.

    As a context manager it starts and stops with the block. All methods are safe to call from any
    thread.

    Args:
        loaded: the application.
        folder: its folder.
        data: the node's data folder; by default `.perdure` in the application's folder.
        clock: where time comes from.
        terminal: what the module `io` of terminal processes writes to and reads from.
        keeps_time: False where somebody else moves the clock, and calls `timers.run_due`.
        functions: makes what calls the Python functions.

    Raises ConfigurationError with all problems found by the preflight check, PerdureError when
    the data folder or a journal cannot be used. Nothing is started then.
    """

    def __init__(
        self,
        loaded: Loaded,
        folder: Path,
        data: Path | None = None,
        *,
        clock: Clock | None = None,
        terminal: Streams = STANDARD,
        keeps_time: bool = True,
        functions: Callable[[Path, Timers], PythonFunctions] = PythonFunctions,
    ) -> None:
        self.warnings = loaded.warnings
        self.overrides = loaded.overrides
        self.folder = folder
        self.timers = Timers(clock or SystemClock())
        self.router = Router(self.timers.clock)
        self.clients = Clients(self.router)
        self.router.attach(self.clients)
        self.events = EventBus(self.router)
        self.router.provide("events", self.events)
        self.deployed = Deployed(loaded.registry, self.clients)
        self.stores = Stores(self.deployed, self.router, self.timers.clock)
        self.router.provide("store", self.stores)
        self.router.provide("io", Terminal(self.router, terminal))
        self._metrics = Metrics(
            lambda: figures(self.parts.services, self.supervisor, self.router, self.events)
        )
        self.router.provide("metrics", self._metrics)
        self.variables = Variables(loaded.registry, self.router)
        self.router.provide("env", self.variables)
        self._python = functions(loaded.source_folder, self.timers)
        self._timer_thread = TimerThread(self.timers) if keeps_time else None
        self._started = 0
        self._stopped = False
        #: Held for the moment in which the node begins to start or to stop.
        self._turning = threading.Lock()
        try:
            checked = preflight(loaded.registry, self._python)
            if checked.problems:
                raise ConfigurationError(checked.problems)
            self._python.install(checked.functions)
            self.registry = LiveRegistry(
                Deployment(loaded.registry, checked.functions), folder, loaded.source_folder,
                self._python, self.timers.clock, self._deploy,
            )  # fmt: skip
            self._registry_module = RegistryModule(self.registry, self.router)
            self.router.provide("registry", self._registry_module)
            self.data = DataFolder(data_folder(folder, data))
        except PerdureError:
            self._python.close()
            raise
        try:
            self._build()
        except BaseException:
            self.data.release()
            self._python.close()
            raise

    def _build(self) -> None:
        """The services, as the owner of the data folder."""
        self.calls = Calls(self.deployed, self._python, self.router, self.clients, self.timers)
        self._requests = Requests(self.router, self.clients, self.calls)
        self.boot = self.data.next_boot()
        self.parts = parts = Parts(
            self.boot, self.router, self.clients, self.calls, self.timers, self.deployed,
            self.stores, self._python,
        )  # fmt: skip
        self._process_refs = ProcessRefs(parts)
        services = build_services(parts)
        self._pools = FunctionPools(
            self.deployed, self.boot, self.router, self.clients, self.calls, self.timers
        )
        open_all(parts.of_type(LmdbService), self.deployed.registry)
        self.router.declare(parts.services)
        self.supervisor = Supervisor("node", services, self.timers, on_transition=self._moved)
        self._deployer = Deployer(
            self.parts, self._python, self._pools, self.variables, self.supervisor
        )
        self._control_server = ControlServer(self.data.socket, Operations(self))

    @classmethod
    def from_path(
        cls,
        path: str | Path,
        overrides: Sequence[str] = (),
        data: str | Path | None = None,
        **options: Any,
    ) -> Node:
        """Load the application in a folder. See `runtime.config.loader.load` and `Node`."""
        folder = Path(path).resolve()
        return cls(load(folder, overrides), folder, Path(data) if data else None, **options)

    # Life -----------------------------------------------------------------------------------------

    def start(self, progress: Progress | None = None) -> list[ServiceStatus]:
        """Start every service that is `auto_start`, and what it needs; dependencies first.

        Comes back when all are up or have failed (those are tried again, by their policy), or when
        another thread stops the node. Raises PerdureError UNAVAILABLE when it was stopped before.
        """
        interpreter.tune()
        with self._turning:
            if self._stopped:
                raise PerdureError(Kind.UNAVAILABLE, "the node was stopped: make a new one")
            self._started = time.monotonic_ns()
            if self._timer_thread is not None:
                self._timer_thread.start()
            self._pools.start()
            try:
                self._control_server.start()
            except OSError as error:
                logger.error(
                    "no control socket %s, the node runs without: %s", self.data.socket, error
                )
        self.router.starting()
        try:
            return self.supervisor.start_all(progress)
        finally:
            self.router.started()

    def stop(self, progress: Progress | None = None) -> list[str]:
        """Stop every service in order; ids of those that did not stop in time. Stops once."""
        with self._turning:
            if self._stopped:
                return []
            self._stopped = True
        self.router.closing = True
        for host in self.parts.of_type(ProcessHost):
            host.refuse_new()
        hung = self.supervisor.stop_all(progress)
        self._control_server.stop()
        self.supervisor.close()
        if self._started:
            self._pools.stop()
            if self._timer_thread is not None:
                self._timer_thread.stop()
        self._registry_module.close()
        self._python.close()
        for environment in self.parts.of_type(LmdbService):
            environment.stop()
        self.clients.close()
        self.data.release()
        return hung

    def _deploy(self, old: Deployment, new: Deployment, touched: frozenset[str]) -> None:
        """Run a deployment in place of another; see `LiveRegistry`."""
        if self._stopped or not self._started:
            raise PerdureError(Kind.UNAVAILABLE, "the node does not run: it takes no changes")
        self._deployer.deploy(old, new, touched)

    def __enter__(self) -> Node:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # Processes, functions, workflows --------------------------------------------------------------

    def spawn(
        self,
        id: str,  # noqa: A002
        host: str,
        *args: Any,
        name: str | None = None,
        context: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        key: str | None = None,
        terminal: list[str] | None = None,
    ) -> str:
        """Start a process or a workflow; its PID. A workflow is on disk by then.

        Args:
            id: entry id.
            host: entry id of the host, or a task queue.
            args: plain values.
            name: a name to hold while it lives.
            context: what `ctx.get` shows it.
            options: spawn options such as "workflow.id".
            key: idempotency key: a workflow is started once for it, however often it is asked for.
            terminal: command-line arguments, for a process on a terminal host.

        Raises PerdureError: what the host answered, or TIMEOUT.
        """
        if self._stopped:
            raise PerdureError(Kind.UNAVAILABLE, "the node was stopped: it starts nothing new")
        return self._requests.spawn(
            id, host, encode_args(args),
            name=name, context=context, options=options, key=key, terminal=terminal,
        )  # fmt: skip

    def send(self, dest: str, topic: str, *payload: Any, key: str | None = None) -> None:
        """Send a message to a PID or name. To a workflow it is on disk when this returns.

        Args:
            key: idempotency key: the same workflow gets the message once for it.

        Raises PerdureError NOT_FOUND, INVALID for a topic that starts with @, or TIMEOUT.
        """
        self._requests.send(dest, topic, encode_args(payload), key)

    def result(self, pid: str, timeout: float | None = None) -> Any:
        """Wait for the end of a process or workflow; what it returned.

        Args:
            timeout: seconds; None to wait for ever.

        Raises PerdureError: what it failed with, NOT_FOUND, or TIMEOUT.
        """
        target = self.router.resolve(pid)
        return self.clients.ask(
            lambda reply: self.router.outcome(target, reply), timeout, f"result of {pid}"
        )

    def call(
        self,
        id: str,  # noqa: A002
        *args: Any,
        timeout: float | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function and wait for its result.

        Args:
            timeout: seconds, after which the call is cancelled; None for no limit.

        Raises PerdureError: what the function failed with, NOT_FOUND, or TIMEOUT.
        """
        if self._stopped:
            raise PerdureError(Kind.UNAVAILABLE, "the node was stopped")
        return self._requests.call(id, args, timeout, context)

    def cancel(self, pid: str, reason: str = "") -> None:
        """Ask a process or workflow to end: it gets a CANCEL event. Raises PerdureError."""
        self._requests.control("cancel", pid, reason)

    def terminate(self, pid: str) -> None:
        """End a process or workflow at once. Raises PerdureError."""
        self._requests.control("terminate", pid)

    def actor(self, pid: str) -> pykka.ActorRef[ProcessActor]:
        """A Pykka ActorRef of a process: tell, ask, stop, is_alive. See `ProcessActor`.

        Raises PerdureError NOT_FOUND when there is no such process.
        """
        return self._process_refs.of(self.router.resolve(pid))

    # For people -----------------------------------------------------------------------------------

    @property
    def uptime(self) -> float:
        """Seconds since `start`."""
        return (time.monotonic_ns() - self._started) / 1e9 if self._started else 0.0

    def status(self) -> dict[str, Any]:
        """The node at a glance.

        Keys: `boot` (number), `uptime` (seconds), `processes` (how many), `dead_letters` (messages
        that found nobody since the start; their senders were told), `full_inboxes` (by host, the
        messages that a limit on inboxes refused or dropped since the start; only hosts with some).
        """
        hosts = self.parts.of_type(ProcessHost)
        return {
            "boot": self.boot,
            "uptime": self.uptime,
            "processes": sum(host.population for host in hosts),
            "dead_letters": self.router.dead_letters.count,
            "full_inboxes": {host.id: host.dropped for host in hosts if host.dropped},
        }

    def dead_letters(self) -> list[dict[str, str | None]]:
        """The latest messages that found nobody, the newest first, 100 at most.

        Keys: `at` (ISO 8601), `to` (a PID or name), `topic`, `from` (a PID, or "" from outside).
        `status()` counts all of them.
        """
        return [
            {"at": timestamp(each.at), "to": each.dest, "topic": each.topic, "from": each.sender}
            for each in self.router.dead_letters.latest()
        ]

    def metrics(self) -> list[Sample]:
        """Every figure of the node and of user code: name, kind, labels, value, help."""
        return self._metrics.samples()

    def metrics_text(self) -> str:
        """The same in Prometheus's text format.

        Raises PerdureError UNAVAILABLE when prometheus_client (the extra `metrics`) is missing.
        """
        return self._metrics.text()

    def services(self) -> list[ServiceStatus]:
        """Every service as it is now; each supervisor before its children, from left to right."""
        return self.supervisor.status()

    def _moved(self, event: dict[str, Any]) -> None:
        """Tell the event bus: system "service", kind the new state, path the id."""
        self.events.publish("service", event["to"], event["id"], event)

    def processes(self) -> list[dict[str, Any]]:
        """Every process: pid, entry, waiting messages, parent, names."""
        return [row for host in self.parts.of_type(ProcessHost) for row in host.processes()]

    def workflows(
        self,
        where: str = "",
        *,
        open: bool = False,  # noqa: A002
        limit: int = 50,
        on_problem: Callable[[PerdureError], None] | None = None,
    ) -> list[dict[str, Any]]:
        """Runs of workflows, the newest first: workflow_id, run_id, pid, entry, host, status,
        started, ended, problem, search, memo. Those of a Temporal server are as it lists them: what
        has just begun or ended shows a moment later, and a limit takes the open ones first.

        Args:
            where: a condition on those fields and on search attributes, such as
                `status = "open" and (customer = "c-7" or total >= 100)`.
            open: only those that have not ended.
            limit: how many at most; 0: all.
            on_problem: told why a host cannot tell of its runs, such as a server that is away, and
                the others are listed; None: that is raised.

        Raises PerdureError INVALID, with the place, for a condition that is none; UNAVAILABLE.
        """

        def refuse(error: PerdureError) -> None:
            raise error

        return runs.found(self, open, limit, where, on_problem or refuse)

    def service(self, id: str) -> Service:  # noqa: A002
        """What is behind a service's entry. Raises PerdureError NOT_FOUND."""
        found = self.parts.services.get(id)
        if found is None:
            raise PerdureError(Kind.NOT_FOUND, f"there is no service {id}")
        return found

    def workflow_hosts(self) -> list[WorkflowHost]:
        """The hosts of durable runs."""
        return self.parts.of_type(WorkflowHost)
