"""`temporal.worker` on a temporal.client: runs workflows and activities of a task queue.

As a host it turns requests of the node into requests to the server. Those to one workflow are made
in their order, one behind the other; each is answered when the server has acknowledged it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import RawValue, WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from hosts.activity_options import RetryPolicy
from hosts.calls import Calls
from hosts.clients import Clients
from hosts.deployed import Deployed
from hosts.effects import log_failure
from hosts.exits import exit_event
from hosts.start_options import StartOptions, start_options
from hosts.temporal import headers as h
from hosts.temporal import start
from hosts.temporal.activity import activity_of
from hosts.temporal.connection import TemporalClient
from hosts.temporal.failures import error_of
from hosts.temporal.parts import Parts
from hosts.temporal.payloads import LIMIT, check_size, encoded, raw, raw_args
from hosts.temporal.requests import EVENT, NodeRequests
from hosts.temporal.schedule import span
from hosts.temporal.vms import RunVm, RunVms
from hosts.temporal.worker_options import arguments
from hosts.temporal.workflow import PartsInterceptor, Run
from hosts.throttle import Throttle
from hosts.timers import Timers
from runtime.codec import encode
from runtime.errors import Kind, PerdureError
from runtime.ids import check_name
from runtime.inputs import Input, ReplyTo, signal
from runtime.lua.machine import Machine
from runtime.routing.router import Router, SpawnRequest, key_of, reply_of

logger = logging.getLogger(__name__)

_IDS: Final = uuid.UUID("0f6f4a0e-6f2e-4f0b-9d55-1c9b8d3f7a42")
#: Seconds that the look-up of a name at the server may take.
_LOOK_UP: Final = 5.0
_WATCHING: Final = ("monitor", "unmonitor", "link", "unlink")


class TemporalWorker:
    """The service and host.

    Args:
        client: gives the client, which runs when this starts.
        workers: VMs, and the threads that step runs in them.
        heartbeat: ns after which an activity whose worker gives no sign is lost.
        options: `worker_options`.
    """

    def __init__(
        self,
        host_id: str,
        deployed: Deployed,
        client: Callable[[], TemporalClient],
        router: Router,
        clients: Clients,
        calls: Calls,
        timers: Timers,
        *,
        task_queue: str,
        workers: int,
        fuel: int,
        memory: int,
        activities: int,
        heartbeat: int,
        retry_policy: RetryPolicy,
        options: Mapping[str, Any],
    ) -> None:
        self.id = host_id
        self.task_queue = task_queue or host_id
        self._deployed = deployed
        self._get_client = client
        self._router = router
        self._clients = clients
        self._calls = calls
        self._timers = timers
        self._workers = workers
        self._fuel = fuel
        self._memory = memory
        self._activities = activities
        self._heartbeat = heartbeat
        self._retry_policy = retry_policy
        self._options = options
        self._throttle = Throttle(timers.clock)
        self._on_exit: Callable[[PerdureError | None], None] = lambda reason: None
        self._connection: TemporalClient | None = None
        self._requests = NodeRequests(router)
        self._vms = RunVms(())
        self._worker: Worker | None = None
        self._running: asyncio.Task[None] | None = None
        #: Workflow id -> the last request to it that is under way.
        self._last: dict[str, asyncio.Task[None]] = {}
        #: (workflow id, watcher, whether by link) -> the wait for its end.
        self._watches: dict[tuple[str, str, bool], asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # As a service ---------------------------------------------------------------------------------

    def attach(self, on_exit: Callable[[PerdureError | None], None]) -> None:
        """It ends by itself when the server tells it to."""
        self._on_exit = on_exit

    @property
    def queue(self) -> str:
        """Its task queue at the server."""
        assert self._connection is not None
        return self._connection.prefix + self.task_queue

    def start(self) -> None:
        """Make the VMs and begin to poll."""
        connection = self._connection = self._get_client()
        connection.opened()
        self._vms = RunVms(
            [self._deployed.join(partial(self._vm, index)) for index in range(self._workers)]
        )
        executor = ThreadPoolExecutor(self._workers, f"perdure-{self.id}")
        try:
            connection.submit(self._open(executor)).result()
        except BaseException as error:
            self._leave_vms()
            executor.shutdown(wait=False)
            raise error_of(error) from error
        self._router.attach(self, self.task_queue)

    async def _open(self, executor: ThreadPoolExecutor) -> None:
        assert self._connection is not None
        parts = self._parts(self._connection)
        ensure = self._connection.ensure_attributes
        given: dict[str, Any] = {
            "max_concurrent_workflow_tasks": 2 * self._workers,
            "max_concurrent_activities": self._activities,
            **arguments(self._options),
        }
        self._worker = Worker(
            self._connection.opened(),
            task_queue=self.queue,
            workflows=[Run],
            activities=[activity_of(parts, ensure)],
            interceptors=[PartsInterceptor(parts)],
            workflow_runner=UnsandboxedWorkflowRunner(),
            workflow_task_executor=executor,
            **given,
        )
        self._running = asyncio.get_running_loop().create_task(self._worker.run())
        self._running.add_done_callback(partial(self._stopped, executor))

    def _stopped(self, executor: ThreadPoolExecutor, task: asyncio.Task[None]) -> None:
        executor.shutdown(wait=False)
        error = None if task.cancelled() else task.exception()
        if error is None or task is not self._running:
            return
        self._router.detach(self)
        self._leave_vms()
        text = f"{self.id}: the worker failed: {error.__cause__ or error}"
        failed = PerdureError(Kind.UNAVAILABLE, text, True)
        threading.Thread(target=self._on_exit, args=(failed,), daemon=True).start()

    def stop(self) -> None:
        """Leave the runs to the server; functions that run are made again by another worker."""
        self._router.detach(self)
        connection, self._connection = self._connection, None
        if connection is not None and self._worker is not None:
            connection.submit(self._close()).result()
        self._leave_vms()

    async def _close(self) -> None:
        worker, running = self._worker, self._running
        self._worker = self._running = None
        for task in [*self._tasks]:
            task.cancel()
        if worker is not None and running is not None:
            if not running.done():
                await worker.shutdown()
            await asyncio.gather(running, return_exceptions=True)

    def _leave_vms(self) -> None:
        for vm in self._vms.all:
            self._deployed.leave(vm)
        self._vms = RunVms(())

    def _vm(self, index: int) -> RunVm:
        def make() -> Machine:
            machine = Machine(
                self.id, f"{{{self.id}.functions-{index}|n", self._timers.clock, fuel=self._fuel,
                memory=self._memory, payload_limit=LIMIT, patched=patched,
            )  # fmt: skip
            machine.define(self._deployed.definitions)
            return machine

        return RunVm(f"{self.id} VM {index}", make, self._router)

    def _parts(self, connection: TemporalClient) -> Parts:
        return Parts(
            self.id, connection.prefix, self._router, self._clients, self._calls, self._deployed,
            self._requests, self._vms, self._retry_policy, self._heartbeat, self.queue_of,
            lambda ended: log_failure(ended, self._throttle),
        )  # fmt: skip

    def queue_of(self, host: str) -> str | None:
        """The task queue of what a spawn names as its host, where that is a worker on the same
        client; else None."""
        served = self._router.served_by(host)
        if isinstance(served, TemporalWorker) and served._connection is self._connection:
            return served.queue
        return None

    # As a host ------------------------------------------------------------------------------------

    def deliver(self, item: Input) -> None:
        kind, pid = item[0], item[1]
        if kind == "answer":
            self._requests.answered(item)
            return
        workflow_id = pid[pid.index("|") + 1 : -1]
        if kind == "message":
            topic, sender, args = item[2:5]
            send = self._send(pid, workflow_id, topic, sender, args, key_of(item))
            self._do(workflow_id, reply_of(item), send)
        elif kind == "control":
            verb, sender, reason = item[2:5]
            control = self._control(pid, workflow_id, verb, sender, reason)
            self._do(workflow_id, reply_of(item), control)
        elif kind == "signal":
            self._do(workflow_id, None, self._signal(workflow_id, EVENT, [raw(item[2])]))
        elif kind == "name":
            self._do(workflow_id, reply_of(item), self._named(pid, workflow_id, item[2]))
        elif kind == "outcome":
            self._apart((item[2], item[3]), self._result(workflow_id))

    def spawn(self, request: SpawnRequest) -> None:
        definition = self._deployed.definitions.get(request.entry)
        try:
            if definition is None:
                raise PerdureError(Kind.NOT_FOUND, f"{request.entry} does not exist")
            if definition.kind != "workflow.lua":
                raise PerdureError(
                    Kind.INVALID,
                    f"{request.entry} is a {definition.kind}: {self.id} runs workflow.lua",
                )
            options = start_options(request.settings)
            workflow_id = options.workflow_id or request.name or _new_id(self.id, request)
            check_name(workflow_id, "workflow id")
            check_size(f"the arguments of {request.entry}", raw_args(request.args))
        except PerdureError as error:
            self._router.refuse_spawn(request, error)
            return

        def refused(error: PerdureError) -> None:
            self._router.refuse(request.start.get("outcome"), error)

        begin = self._start(request, options, workflow_id)
        self._do(workflow_id, request.start.get("reply"), begin, refused)

    def lookup(self, name: str) -> str | None:
        """A workflow is known by its id while it is open."""
        connection = self._connection
        if connection is None:
            return None
        try:
            check_name(name, "name")
            status = connection.submit(self._status(name)).result(_LOOK_UP)
        except (PerdureError, RPCError, TimeoutError):
            return None
        return self._pid(name) if status == WorkflowExecutionStatus.RUNNING else None

    def _pid(self, workflow_id: str) -> str:
        return f"{{{self.id}|{workflow_id}}}"

    # Requests to the server -----------------------------------------------------------------------

    def _do(
        self,
        workflow_id: str,
        reply: ReplyTo | None,
        work: Coroutine[Any, Any, bytes],
        refused: Callable[[PerdureError], None] = lambda error: None,
    ) -> None:
        """Make a request to a workflow behind those that are under way, and answer."""

        async def begin() -> None:
            before = self._last.get(workflow_id)
            task = asyncio.get_running_loop().create_task(
                self._answered(reply, work, refused, before)
            )
            self._keep(task)
            self._last[workflow_id] = task
            task.add_done_callback(partial(self._passed, workflow_id))

        self._submit(reply, work, begin(), refused)

    def _passed(self, workflow_id: str, task: asyncio.Task[None]) -> None:
        if self._last.get(workflow_id) is task:
            del self._last[workflow_id]

    def _apart(self, reply: ReplyTo, work: Coroutine[Any, Any, bytes]) -> None:
        """Make a request that waits for long, and answer."""

        async def begin() -> None:
            self._keep(asyncio.get_running_loop().create_task(self._answered(reply, work)))

        self._submit(reply, work, begin())

    def _submit(
        self,
        reply: ReplyTo | None,
        work: Coroutine[Any, Any, bytes],
        begin: Coroutine[Any, Any, None],
        refused: Callable[[PerdureError], None] = lambda error: None,
    ) -> None:
        connection = self._connection
        if connection is not None:
            connection.submit(begin)
            return
        begin.close()
        work.close()
        error = PerdureError(Kind.UNAVAILABLE, f"{self.id} is not running", True)
        self._router.refuse(reply, error)
        refused(error)

    async def _answered(
        self,
        reply: ReplyTo | None,
        work: Awaitable[bytes],
        refused: Callable[[PerdureError], None] = lambda error: None,
        before: asyncio.Task[None] | None = None,
    ) -> None:
        try:
            if before is not None:
                await asyncio.wait({before})
            value = await work
        except asyncio.CancelledError:
            error = PerdureError(Kind.UNAVAILABLE, f"{self.id} was stopped", True)
            self._router.refuse(reply, error)
            refused(error)
            raise
        except Exception as failed:
            error = error_of(failed)
            self._router.refuse(reply, error)
            refused(error)
        else:
            self._router.answer(reply, value)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _handle(self, workflow_id: str) -> Any:
        assert self._connection is not None
        client = self._connection.opened()
        return client.get_workflow_handle(workflow_id, result_type=RawValue)

    async def _status(self, workflow_id: str) -> WorkflowExecutionStatus | None:
        try:
            return (await self._handle(workflow_id).describe()).status  # type: ignore[no-any-return]
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return None
            raise

    async def _start(self, request: SpawnRequest, options: StartOptions, workflow_id: str) -> bytes:
        assert self._connection is not None
        given, pid = request.start, self._pid(workflow_id)
        parent, messages = given.get("parent", ""), given.get("messages", ())
        connection = self._connection
        search = start.search_of(options.extra)
        if search:
            types = {name: start.type_of(value) for name, value in search.items()}
            await connection.ensure_attributes(types)
        queue = self.queue
        if options.task_queue is not None:
            queue = connection.prefix + options.task_queue
        arguments = start.rules(options)
        if request.key is not None and options.workflow_id is None and request.name is None:
            arguments["id_reuse_policy"] = start.REJECT
        conflict = WorkflowIDConflictPolicy.FAIL
        if options.conflict == "terminate_existing":
            conflict = WorkflowIDConflictPolicy.TERMINATE_EXISTING
        headers = start.start_headers(
            self._parts(connection), request.entry, given.get("context"), parent, messages
        )
        try:
            with h.sending(headers):
                await connection.opened().start_workflow(
                    request.entry,
                    args=raw_args(request.args),
                    id=workflow_id,
                    task_queue=queue,
                    id_conflict_policy=conflict,
                    start_delay=span(options.start_delay) if options.start_delay else None,
                    **arguments,
                )
        except WorkflowAlreadyStartedError:
            await self._join(request, options, workflow_id, pid)
        self._expect(workflow_id, request)
        return encode(pid)

    async def _join(
        self, request: SpawnRequest, options: StartOptions, workflow_id: str, pid: str
    ) -> None:
        """A start finds its workflow id in use. Raises PerdureError ALREADY_EXISTS where that is
        not what the policies want."""
        status = await self._status(workflow_id)
        if request.key is not None:
            return
        if status != WorkflowExecutionStatus.RUNNING:
            raise start.exists(pid, workflow_id, status.name.lower() if status else "gone")
        if options.conflict == "fail" or options.error_when_started:
            raise start.exists(pid, workflow_id, "running")
        sender = request.start.get("parent", "")
        for topic, args, *rest in request.start.get("messages", ()):
            await self._send(pid, workflow_id, topic, rest[0] if rest else sender, args, None)

    def _expect(self, workflow_id: str, request: SpawnRequest) -> None:
        """Who asked for a run hears of its end as the request says."""
        asked = request.start
        if "outcome" in asked:
            self._apart(asked["outcome"], self._result(workflow_id))
        for watcher in asked.get("watchers", ()):
            self._watch(workflow_id, watcher, linked=False)
        for watcher in asked.get("links", ()):
            self._watch(workflow_id, watcher, linked=True)

    async def _send(
        self, pid: str, workflow_id: str, topic: str, sender: str, args: bytes, key: Any
    ) -> bytes:
        values = raw_args(args)
        check_size(f"the message {topic}", values)
        try:
            return await self._signal(workflow_id, topic, values, sender)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            self._router.dead_letters.add(pid, topic, sender)
            raise self._gone(pid) from None

    async def _signal(
        self, workflow_id: str, topic: str, values: list[RawValue], sender: str = ""
    ) -> bytes:
        with h.sending(h.headers_of({h.SENDER: sender or None})):
            await self._handle(workflow_id).signal(topic, args=values)
        return encode(True)

    def _gone(self, pid: str) -> PerdureError:
        return PerdureError(Kind.NOT_FOUND, f"process not found: {pid}")

    async def _control(
        self, pid: str, workflow_id: str, verb: str, sender: str, reason: str | None
    ) -> bytes:
        if verb in _WATCHING:
            linked = verb in ("link", "unlink")
            if verb in ("unmonitor", "unlink"):
                task = self._watches.pop((workflow_id, sender, linked), None)
                if task is not None:
                    task.cancel()
                return encode(True)
            if await self._status(workflow_id) is None:
                raise self._gone(pid)
            self._watch(workflow_id, sender, linked=linked)
            return encode(True)
        if await self._status(workflow_id) != WorkflowExecutionStatus.RUNNING:
            raise self._gone(pid)
        handle = self._handle(workflow_id)
        if verb == "terminate":
            await handle.terminate(reason=reason or None)
        elif verb in ("cancel", "stop"):
            await handle.cancel(reason=reason or "")
        return encode(True)

    async def _named(self, pid: str, workflow_id: str, name: str) -> bytes:
        """A process gives an open workflow a name, which is free again at its end."""
        if await self._status(workflow_id) != WorkflowExecutionStatus.RUNNING:
            raise self._gone(pid)
        self._router.names.register(name, pid)

        async def release() -> None:
            await self._end(workflow_id)
            self._router.names.release(pid)

        self._keep(asyncio.get_running_loop().create_task(release()))
        return encode(True)

    async def _result(self, workflow_id: str) -> bytes:
        ok, value = await self._end(workflow_id)
        if not ok:
            raise value
        return encode(value)

    async def _end(self, workflow_id: str) -> tuple[bool, Any]:
        """How a workflow has ended, when it has: a value, or a PerdureError."""
        from runtime.codec import decode

        try:
            return True, decode(encoded(await self._handle(workflow_id).result()))
        except WorkflowFailureError as failed:
            return False, error_of(failed)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return False, self._gone(self._pid(workflow_id))
            raise

    def _watch(self, workflow_id: str, watcher: str, *, linked: bool) -> None:
        """Tell a process when a workflow ends. Runs on the loop."""
        key = (workflow_id, watcher, linked)
        if key in self._watches:
            return

        async def wait() -> None:
            ok, value = await self._end(workflow_id)
            self._router.names.release(self._pid(workflow_id))
            at = self._timers.clock.wall()
            event = exit_event(self._pid(workflow_id), at, ok, encode(value), linked)
            self._router.deliver(signal(watcher, event))

        task = asyncio.get_running_loop().create_task(wait())
        self._watches[key] = task
        task.add_done_callback(lambda _: self._watches.pop(key, None))
        self._keep(task)


def patched(name: str) -> bool:
    """Whether the run that is stepped on this thread took the code that goes by a marker."""
    from temporalio import workflow

    return workflow.patched(name)


def _new_id(host_id: str, request: SpawnRequest) -> str:
    """A workflow id for a request that chose none; the same for the same key."""
    if request.key is not None:
        return str(uuid.uuid5(_IDS, f"{host_id}:{request.key}"))
    return str(uuid.uuid4())
