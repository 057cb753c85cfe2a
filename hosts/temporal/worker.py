"""`temporal.worker` on a temporal.client: runs workflows and activities of a task queue.

As a host it turns requests of the node into requests to the server. Those to one workflow are made
in their order, one behind the other; each is answered when the server has acknowledged it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple

from temporalio import workflow
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError
from temporalio.worker import Worker

from hosts.activity_options import RetryPolicy
from hosts.calls import Calls
from hosts.definitions import check_workflow
from hosts.deployed import Deployed
from hosts.effects import log_failure
from hosts.start_options import start_options
from hosts.temporal.activity import activity_of
from hosts.temporal.connection import TemporalClient, said
from hosts.temporal.failures import error_of
from hosts.temporal.lanes import Lanes
from hosts.temporal.parts import Parts
from hosts.temporal.payloads import LIMIT, OVER_LIMIT
from hosts.temporal.replay import replayed
from hosts.temporal.reports import ServerReports
from hosts.temporal.runner import RunRunner
from hosts.temporal.runs import Runs
from hosts.temporal.start import check_id, check_sizes
from hosts.temporal.vms import InMemory, RunVm, RunVms
from hosts.temporal.worker_options import arguments
from hosts.temporal.workflow import PartsInterceptor, Run
from hosts.throttle import Throttle
from hosts.timers import Timers
from runtime.errors import Kind, PerdureError
from runtime.ids import check_name
from runtime.inputs import Input
from runtime.lua.machine import Machine
from runtime.routing.router import Router, SpawnRequest, key_of, reply_of

logger = logging.getLogger(__name__)

_IDS: Final = uuid.UUID("0f6f4a0e-6f2e-4f0b-9d55-1c9b8d3f7a42")
#: Instructions of a step at most, whatever the entry says: half a second of the 2 that the SDK
#: gives it.
_FUEL: Final = 50_000_000
#: Bytes that a step may add to its VM: filling more, and collecting it, would take longer.
GROWTH: Final = 96 << 20
#: Seconds that the look-up of a name at the server may take.
LOOK_UP: Final = 5.0
#: Steps of a VM that are under way at once, on their way from the server or back too; one at a
#: time runs. With two a busy worker polled so seldom that steps waited at the server: it did two
#: thirds of the round trips. Many more would wait behind one that burns, for the SDK's two seconds.
STEPS: Final = 5


class Settings(NamedTuple):
    """How a worker runs: fields of its entry.

    Attributes:
        workers: VMs, and the threads that step runs in them.
        cache: bytes of runs in memory.
        activities: at the same time.
        heartbeat: ns after which an activity whose worker gives no sign is lost.
        task_timeout: ns that a step, and the replay before it, may take, of runs that do not say.
        options: `worker_options`.
    """

    task_queue: str
    workers: int
    fuel: int
    memory: int
    cache: int
    activities: int
    heartbeat: int
    task_timeout: int
    retry_policy: RetryPolicy
    options: Mapping[str, Any]


class _Open(NamedTuple):
    """What there is of a worker while it runs."""

    connection: TemporalClient
    parts: Parts
    lanes: Lanes
    runs: Runs
    worker: Worker
    polling: asyncio.Task[None]


class TemporalWorker:
    """The service and host.

    Args:
        client: gives the client, which runs when this starts.
    """

    def __init__(
        self,
        host_id: str,
        deployed: Deployed,
        client: Callable[[], TemporalClient],
        router: Router,
        calls: Calls,
        timers: Timers,
        settings: Settings,
    ) -> None:
        self.id = host_id
        self._deployed = deployed
        self._get_client = client
        self._router = router
        self._calls = calls
        self._timers = timers
        self._settings = settings
        self._throttle = Throttle(timers.clock)
        self._on_exit: Callable[[PerdureError | None], None] = lambda reason: None
        self._open: _Open | None = None
        #: What it tells people.
        self.reports = ServerReports(host_id, client, self._queue_on)

    # As a service ---------------------------------------------------------------------------------

    def attach(self, on_exit: Callable[[PerdureError | None], None]) -> None:
        """It ends by itself when the server tells it to."""
        self._on_exit = on_exit

    def start(self) -> None:
        """Make the VMs and begin to poll."""
        connection, count = self._get_client(), self._settings.workers
        connection.opened()
        vms = RunVms([self._deployed.join(partial(self._vm, index)) for index in range(count)])
        executor = ThreadPoolExecutor(count, f"perdure-{self.id}")
        try:
            self._open = connection.submit(self._begin(connection, vms, executor)).result()
        except BaseException as error:
            self._close(vms, executor)
            raise error_of(error) from error
        self._router.attach(self, self._settings.task_queue)

    async def _begin(
        self, connection: TemporalClient, vms: RunVms, executor: ThreadPoolExecutor
    ) -> _Open:
        settings = self._settings
        parts = Parts(
            self.id, connection.prefix, self._router, self._calls, self._deployed,
            connection.requests, vms, settings.retry_policy, settings.heartbeat,
            settings.task_timeout, self.queue_of,
            lambda ended: log_failure(ended, self._throttle),
        )  # fmt: skip
        given: dict[str, Any] = {
            "max_concurrent_workflow_tasks": STEPS * settings.workers,
            "max_concurrent_activities": settings.activities,
            **arguments(settings.options),
        }
        queue = self._queue_on(connection)
        lanes = Lanes(self.id, connection, self._router)
        runs = Runs(parts, connection, queue, lanes, self._timers.clock)
        # The SDK takes no second worker of a queue on a connection, not even for one that failed.
        worker = Worker(
            await connection.connect(),
            task_queue=queue,
            workflows=[Run],
            activities=[activity_of(parts, connection, runs)],
            interceptors=[PartsInterceptor(parts)],
            workflow_runner=RunRunner(),
            workflow_task_executor=executor,
            # Nothing is stored elsewhere: above one each payload would have two tasks for that.
            max_workflow_task_external_storage_concurrency=1,
            **given,
        )
        polling = asyncio.get_running_loop().create_task(worker.run())
        polling.add_done_callback(partial(self._ended, vms, executor))
        return _Open(connection, parts, lanes, runs, worker, polling)

    def _ended(self, vms: RunVms, executor: ThreadPoolExecutor, task: asyncio.Task[None]) -> None:
        """The worker polls no more: it was shut down, or cannot go on."""
        self._close(vms, executor)
        error = None if task.cancelled() else task.exception()
        if error is None or self._open is None:
            return
        self._router.detach(self)
        self._open.lanes.close()
        self._open = None
        text = f"{self.id}: the worker cannot go on: {said(error.__cause__ or error)}"
        failed = PerdureError(Kind.UNAVAILABLE, text, True)
        threading.Thread(target=self._on_exit, args=(failed,), daemon=True).start()

    def _close(self, vms: RunVms, executor: ThreadPoolExecutor) -> None:
        executor.shutdown(wait=False)
        for vm in vms.all:
            self._deployed.leave(vm)

    def stop(self) -> None:
        """Leave the runs to the server; functions that run are made again by another worker."""
        self._router.detach(self)
        opened, self._open = self._open, None
        if opened is not None:
            opened.connection.submit(_shut_down(opened)).result()

    @property
    def trouble(self) -> PerdureError | None:
        """Why the server of its client cannot be used now, if so."""
        return None if self._open is None else self._open.connection.trouble

    @property
    def live(self) -> int:
        """How many runs are in memory; the others are at the server only."""
        return 0 if self._open is None else sum(vm.live for vm in self._open.parts.vms.all)

    def replay(self, query: str = "") -> tuple[int, dict[str, str]]:
        """Replay the runs of its task queue, or those that a query of the server finds, on the
        code of now: how many there were, and by workflow id what differs.

        Raises PerdureError UNAVAILABLE when it does not run.
        """
        opened = self._open
        if opened is None:
            raise self._not_running()
        connection = opened.connection
        query = query or f"TaskQueue = '{self._queue_on(connection)}'"
        histories = connection.opened().list_workflows(query).map_histories()
        with ThreadPoolExecutor(1) as executor:
            replay = replayed(histories, connection.namespace, opened.parts)
            return executor.submit(asyncio.run, replay).result()

    def _vm(self, index: int) -> RunVm:
        def make() -> Machine:
            machine = Machine(
                self.id, f"{{{self.id}.functions-{index}|n", self._timers.clock,
                fuel=min(self._settings.fuel or _FUEL, _FUEL), memory=self._settings.memory,
                growth=GROWTH, payload_limit=LIMIT, over_limit=OVER_LIMIT,
                patched=workflow.patched,
            )  # fmt: skip
            machine.define(self._deployed.definitions)
            return machine

        budget = self._settings.cache / self._settings.workers
        name = f"{self.id} VM {index}"
        return RunVm(name, make, self._router, self._renewed, self._crowded, budget)

    def _renewed(self, runs: Sequence[InMemory]) -> None:
        """The definitions are others: runs that are to take new code leave memory, so that their
        next step is behind a replay on it."""
        opened = self._open
        if opened is None:
            return
        self._crowded([each for each in runs if opened.parts.is_latest(each.entry)])

    def _crowded(self, runs: Sequence[InMemory]) -> None:
        """Runs leave memory, when nothing of them is under way."""
        opened = self._open
        if opened is not None:
            opened.connection.submit(_evicted(opened.worker, runs))

    def _queue_on(self, connection: TemporalClient) -> str:
        """Its task queue at the server."""
        return connection.prefix + (self._settings.task_queue or self.id)

    def queue_of(self, host: str) -> str | None:
        """The task queue of what a spawn names as its host, where that is a worker on the same
        client; else None."""
        served, own = self._router.served_by(host), self._open
        if not isinstance(served, TemporalWorker) or own is None or served._open is None:
            return None
        if served._open.connection is not own.connection:
            return None
        return served._queue_on(own.connection)

    # As a host ------------------------------------------------------------------------------------

    def deliver(self, item: Input) -> None:
        kind, pid, opened = item[0], item[1], self._open
        if opened is None:
            if kind == "message":
                self._router.dead_letters.add(pid, item[2], item[3])
            if kind in ("message", "control", "name"):
                self._router.refuse(reply_of(item), self._not_running())
            return
        workflow_id, lanes, runs = pid[pid.index("|") + 1 : -1], opened.lanes, opened.runs
        if kind == "message":
            topic, sender, args = item[2:5]
            send = runs.send(pid, workflow_id, topic, sender, args, key_of(item))
            lanes.behind(workflow_id, reply_of(item), send)
        elif kind == "control":
            verb, sender, reason = item[2:5]
            control = runs.control(pid, workflow_id, verb, sender, reason)
            lanes.behind(workflow_id, reply_of(item), control)
        elif kind == "answer":
            opened.connection.requests.answered(item)
        elif kind == "signal":
            lanes.behind(workflow_id, None, runs.event(workflow_id, item[2]))
        elif kind == "name":
            lanes.behind(workflow_id, reply_of(item), runs.named(pid, workflow_id, item[2]))
        elif kind == "outcome":
            lanes.apart((item[2], item[3]), runs.result(workflow_id))

    def spawn(self, request: SpawnRequest) -> None:
        opened = self._open
        try:
            check_workflow(self._deployed.definitions, request.entry, self.id)
            options = start_options(request.settings)
            workflow_id = options.workflow_id or request.name or self._new_id(request)
            check_id(workflow_id, options)
            given = request.start
            check_sizes(
                request.entry, request.args, given.get("context"), given.get("messages", ()),
                options.extra,
            )  # fmt: skip
            if opened is None:
                raise self._not_running()
        except PerdureError as error:
            self._router.refuse_spawn(request, error)
            return

        def refused(error: PerdureError) -> None:
            self._router.refuse(request.start.get("outcome"), error)

        begin = opened.runs.start(request, options, workflow_id)
        opened.lanes.behind(workflow_id, request.start.get("reply"), begin, refused)

    def _new_id(self, request: SpawnRequest) -> str:
        """A workflow id for a request that chose none; the same for the same key."""
        if request.key is not None:
            return str(uuid.uuid5(_IDS, f"{self.id}:{request.key}"))
        return str(uuid.uuid4())

    def _not_running(self) -> PerdureError:
        return PerdureError(Kind.UNAVAILABLE, f"{self.id} is not running", True)

    def lookup(self, name: str) -> str | None:
        """A workflow is known by its id while it is open. Asks the server; raises PerdureError
        UNAVAILABLE when that does not say."""
        opened = self._open
        if opened is None:
            return None
        try:
            check_name(name, "name")
        except PerdureError:
            return None
        if self.trouble is not None:
            raise self.trouble
        try:
            status = opened.connection.submit(opened.runs.status(name)).result(LOOK_UP)
        except (RPCError, TimeoutError) as failed:
            text = f'{self.id}: whether a workflow is "{name}" could not be found out: {failed}'
            raise PerdureError(Kind.UNAVAILABLE, text, True) from None
        return opened.parts.pid(name) if status == WorkflowExecutionStatus.RUNNING else None


async def _shut_down(opened: _Open) -> None:
    opened.lanes.close()
    if not opened.polling.done():
        await opened.worker.shutdown()
    await asyncio.gather(opened.polling, return_exceptions=True)


async def _evicted(worker: Worker, runs: Sequence[InMemory]) -> None:
    # Only the SDK's core has a way to say so, which its worker keeps to itself.
    core = getattr(worker, "_bridge_worker", None)
    evict = getattr(core, "request_workflow_eviction", None)
    if evict is None:
        text = "this temporalio cannot evict runs: %d stay in memory, with the code that they have"
        logger.warning(text, len(runs))
        return
    for run in runs:
        evict(run.run_id)
