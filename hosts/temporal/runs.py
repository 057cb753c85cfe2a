"""The workflows of a worker at the server: started, signalled, ended, watched."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from temporalio.api.common.v1 import Header, Payloads, WorkflowExecution
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from temporalio.common import RawValue, WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from hosts.exits import exit_event
from hosts.start_options import StartOptions
from hosts.temporal import headers as h
from hosts.temporal import start
from hosts.temporal.connection import TemporalClient
from hosts.temporal.failures import error_of, is_gone
from hosts.temporal.lanes import Lanes
from hosts.temporal.parts import Parts
from hosts.temporal.payloads import check_size, check_together, encoded, raw, raw_args
from hosts.temporal.requests import CANCEL, EVENT
from hosts.temporal.schedule import span
from runtime import inputs
from runtime.clock import Clock
from runtime.codec import decode, encode
from runtime.errors import PerdureError
from runtime.routing.router import SpawnRequest

#: Seconds until a server that is away is asked again for the end of a workflow.
_AGAIN: Final = 1.0
#: In the memo of a run that was started with an idempotency key under an id of its own.
_KEY: Final = "perdure-key"
_WATCHING: Final = ("monitor", "unmonitor", "link", "unlink")


class Runs:
    """Every method runs on the client's loop; each returns what its caller is answered."""

    def __init__(
        self, parts: Parts, connection: TemporalClient, queue: str, lanes: Lanes, clock: Clock
    ) -> None:
        self._parts = parts
        self._connection = connection
        self._client = connection.opened()
        self._queue = queue
        self._lanes = lanes
        self._clock = clock
        #: (PID, watcher, whether by link) -> the wait for its end.
        self._watches: dict[tuple[str, str, bool], asyncio.Task[None]] = {}
        #: PIDs of workflows that hold names until their end.
        self._named: set[str] = set()

    def _handle(self, workflow_id: str, run_id: str = "") -> Any:
        return self._client.get_workflow_handle(
            workflow_id, run_id=run_id or None, result_type=RawValue
        )

    async def status(self, workflow_id: str) -> WorkflowExecutionStatus | None:
        """How the last run of a workflow stands; None when there is none."""
        described = await self._described(workflow_id)
        return None if described is None else described.status

    async def _described(self, workflow_id: str) -> WorkflowExecutionDescription | None:
        try:
            return await self._handle(workflow_id).describe()  # type: ignore[no-any-return]
        except RPCError as error:
            if is_gone(error):
                return None
            raise

    async def start(self, request: SpawnRequest, options: StartOptions, workflow_id: str) -> bytes:
        """Start a run, or do what the policies say when its workflow id is in use; its PID."""
        given, pid = request.start, self._parts.pid(workflow_id)
        parent, messages = given.get("parent", ""), given.get("messages", ())
        search = start.search_of(options.extra)
        fit, refused = await self._connection.fitted(search) if search else ({}, {})
        for error in refused.values():
            raise error
        queue = self._queue
        if options.task_queue is not None:
            queue = self._parts.prefix + options.task_queue
        arguments = start.rules(options, fit, self._parts.task_timeout)
        if request.key is not None and options.workflow_id is None and request.name is None:
            arguments["id_reuse_policy"] = start.REJECT
        elif request.key is not None:
            if await self._key_of(workflow_id) == request.key:
                self._expect(workflow_id, request)
                return encode(pid)
            arguments["memo"] = {**(arguments["memo"] or {}), _KEY: request.key}
        conflict = WorkflowIDConflictPolicy.FAIL
        if options.conflict == "terminate_existing":
            conflict = WorkflowIDConflictPolicy.TERMINATE_EXISTING
        args = raw_args(request.args)
        headers = start.start_headers(
            self._parts, request.entry, given.get("context"), parent, messages,
            host=None if queue == self._queue else self._parts.host_id,
        )  # fmt: skip
        check_together(f"the arguments of {request.entry}", args, headers)
        try:
            with h.sending(headers):
                await self._client.start_workflow(
                    request.entry,
                    args=args,
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
        key = request.key
        own_id = options.workflow_id is None and request.name is None
        if key is not None and (own_id or await self._key_of(workflow_id) == key):
            return
        status = await self.status(workflow_id)
        if status != WorkflowExecutionStatus.RUNNING:
            raise start.exists(pid, workflow_id, start.status_word(status))
        if options.conflict == "fail" or options.error_when_started:
            raise start.exists(pid, workflow_id, "running")
        sender = request.start.get("parent", "")
        for number, (topic, args, *rest) in enumerate(request.start.get("messages", ())):
            once = None if key is None else f"{key}:{number}"
            await self.send(pid, workflow_id, topic, rest[0] if rest else sender, args, once)

    async def _key_of(self, workflow_id: str) -> str | None:
        """The idempotency key that the last run of a workflow was started by, if it had one."""
        described = await self._described(workflow_id)
        return None if described is None else (await described.memo()).get(_KEY)

    def _expect(self, workflow_id: str, request: SpawnRequest) -> None:
        """Who asked for a run hears of its end as the request says."""
        asked, pid = request.start, self._parts.pid(workflow_id)
        if "outcome" in asked:
            self._lanes.apart(asked["outcome"], self.result(workflow_id))
        elif request.parent is not None:
            self._watch(pid, workflow_id, asked["parent"], linked=False)
        for watcher in asked.get("watchers", ()):
            self._watch(pid, workflow_id, watcher, linked=False)
        for watcher in asked.get("links", ()):
            self._watch(pid, workflow_id, watcher, linked=True)

    async def send(
        self, pid: str, workflow_id: str, topic: str, sender: str, args: bytes, key: Any
    ) -> bytes:
        """Send a message; `key` is an idempotency key or None."""
        check_size(f"the message {topic}", args)
        values = raw_args(args)
        try:
            return await self.signal(workflow_id, topic, values, sender, key)
        except RPCError as error:
            if not is_gone(error):
                raise
            self._parts.router.dead_letters.add(pid, topic, sender)
            raise await self._gone(workflow_id) from None

    async def signal(
        self,
        workflow_id: str,
        topic: str,
        values: list[RawValue],
        sender: str = "",
        key: Any = None,
    ) -> bytes:
        """Signal a workflow; of several requests with one key the server takes the first."""
        headers = h.headers_of({h.SENDER: sender or None, h.KEY: None if key is None else str(key)})
        if key is None:
            with h.sending(headers):
                await self._handle(workflow_id).signal(topic, args=values)
        else:
            request = SignalWorkflowExecutionRequest(
                namespace=self._connection.namespace,
                workflow_execution=WorkflowExecution(workflow_id=workflow_id),
                signal_name=topic,
                input=Payloads(payloads=[each.payload for each in values]),
                header=Header(fields=headers),
                # The server takes a request once: what is repeated is acknowledged.
                request_id=str(key),
            )
            await self._client.workflow_service.signal_workflow_execution(request, retry=True)
        return encode(True)

    async def event(self, workflow_id: str, event: bytes) -> bytes:
        """Tell a workflow of an event, such as the end of a process that it started."""
        try:
            check_size("the result in an event", event)
        except PerdureError as error:
            event = encode({**decode(event), "result": {"error": error}})
        return await self.signal(workflow_id, EVENT, [raw(event)])

    async def _gone(self, workflow_id: str) -> PerdureError:
        """Why a workflow cannot be reached."""
        return start.gone(self._parts.pid(workflow_id), await self.status(workflow_id))

    async def control(
        self, pid: str, workflow_id: str, verb: str, sender: str, reason: str | None
    ) -> bytes:
        """cancel, terminate, monitor, unmonitor, link or unlink a workflow."""
        if verb in _WATCHING:
            linked = verb in ("link", "unlink")
            if verb in ("unmonitor", "unlink"):
                task = self._watches.pop((pid, sender, linked), None)
                if task is not None:
                    task.cancel()
                return encode(True)
            if await self.status(workflow_id) is None:
                raise start.gone(pid, None)
            self._watch(pid, workflow_id, sender, linked=linked)
            return encode(True)
        handle = self._handle(workflow_id)
        try:
            if verb == "terminate":
                await handle.terminate(reason=reason or None)
            elif verb in ("cancel", "stop"):
                check_size("the reason to cancel", encode(reason))
                # The server takes a cancel of what has ended.
                found = await self._described(workflow_id)
                if found is None or found.status != WorkflowExecutionStatus.RUNNING:
                    raise start.gone(pid, None if found is None else found.status)
                if found.raw_description.workflow_extended_info.cancel_requested:
                    await self.signal(workflow_id, CANCEL, [raw(encode(reason))], sender)
                    return encode(True)
                if sender:
                    await self.signal(workflow_id, CANCEL, [], sender)
                await handle.cancel(reason=reason or "")
        except RPCError as error:
            if not is_gone(error):
                raise
            raise await self._gone(workflow_id) from None
        return encode(True)

    async def named(self, pid: str, workflow_id: str, name: str) -> bytes:
        """Give an open workflow a name, which is free again at its end."""
        status = await self.status(workflow_id)
        if status != WorkflowExecutionStatus.RUNNING:
            raise start.gone(pid, status)
        self._parts.router.names.register(name, pid)

        async def release() -> None:
            await self.ended(workflow_id)
            self._named.discard(pid)
            self._parts.router.names.release(pid)

        if pid not in self._named:
            self._named.add(pid)
            self._lanes.keep(release())
        return encode(True)

    async def result(self, workflow_id: str) -> bytes:
        """The result of a workflow, when it has ended. Raises the error that it ended with."""
        ok, value = await self.ended(workflow_id)
        self._parts.router.names.release(self._parts.pid(workflow_id))
        if not ok:
            raise value
        return encode(value)

    async def ended(self, workflow_id: str, run_id: str = "") -> tuple[bool, Any]:
        """How the current run of a workflow has ended, or that with a run id, and those that go on
        for it, when they have: a value, or a PerdureError.

        Waits for a server that is away, however long that is.
        """
        while True:
            try:
                return await self._ended(workflow_id, run_id)
            except RPCError as error:
                if is_gone(error):
                    return False, start.gone(self._parts.pid(workflow_id), None)
                if not error_of(error).retryable:
                    return False, error_of(error)
                await asyncio.sleep(_AGAIN)

    async def _ended(self, workflow_id: str, run_id: str) -> tuple[bool, Any]:
        try:
            return True, decode(encoded(await self._handle(workflow_id, run_id).result()))
        except (WorkflowFailureError, PerdureError) as failed:
            return False, error_of(failed)

    def _watch(self, pid: str, workflow_id: str, watcher: str, *, linked: bool) -> None:
        """Tell a process when a workflow ends. Runs on the loop."""
        key = (pid, watcher, linked)
        if key in self._watches:
            return

        async def wait() -> None:
            ok, value = await self.ended(workflow_id)
            self._parts.router.names.release(pid)
            event = exit_event(pid, self._clock.wall(), ok, encode(value), linked)
            self._parts.router.deliver(inputs.signal(watcher, event))

        task = self._watches[key] = self._lanes.keep(wait())
        task.add_done_callback(lambda _: self._watches.pop(key, None))
