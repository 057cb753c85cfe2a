"""Child workflows of a run."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from temporalio import workflow
from temporalio.common import RawValue, WorkflowIDReusePolicy
from temporalio.exceptions import CancelledError, FailureError, WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

from hosts.exits import exit_event
from hosts.start_options import StartOptions, close_policy, start_options
from hosts.temporal import headers as h
from hosts.temporal import requests, start
from hosts.temporal.attributes import Fitted
from hosts.temporal.failures import error_of
from hosts.temporal.payloads import check_together, encoded, raw_args
from runtime import commands as c
from runtime import inputs
from runtime.codec import decode, encode
from runtime.errors import PerdureError

if TYPE_CHECKING:
    from hosts.temporal.execution import Execution

_CLOSE: Final = {
    "terminate": ParentClosePolicy.TERMINATE,
    "abandon": ParentClosePolicy.ABANDON,
    "request_cancel": ParentClosePolicy.REQUEST_CANCEL,
}
#: Marks that a start has found the workflow that was in its way at its end.
_ENDED: Final = "perdure.ended"


class Children:
    """Starts the children of a run and waits for their ends."""

    def __init__(self, execution: Execution) -> None:
        self._run = execution
        self._tasks: set[asyncio.Task[None]] = set()
        #: Workflow id and run id ("" for the current one) of those that have not ended.
        self.open: list[list[str]] = []

    def inherit(self, children: Sequence[list[str]]) -> None:
        """Take over what the run had that this one goes on for: their ends are told to this one."""
        self.open += children
        for number, child in enumerate(children):
            ended = self._wait(child, f"{number}-inherited-end")
            self._soon(self._tell(self._run.parts.pid(child[0]), child, ended))

    def is_one(self, command: c.Spawn, queue: str | None) -> bool:
        """Whether a spawn is that of a child; else it is the node's. `queue` is the task queue of
        its host, None where that is no worker on the same client.

        A replay has to find what was found at first, though the entry may be gone by now, or the
        host not be up. So the history marks, as a patch, what is no child and no process.
        """
        parts, mark = self._run.parts, f"perdure.spawn@{command.seq}"
        kind = parts.kind_of(command.entry)
        if kind not in ("", "workflow.lua"):
            return False
        if not workflow.unsafe.is_replaying():
            return (kind != "" and queue is not None) or not workflow.patched(mark)
        if workflow.patched(mark):
            return False
        # Without a mark: a child, or a process whose entry is gone.
        served = parts.router.served_by(command.host)
        return kind != "" or queue is not None or served is None

    def spawn(self, command: c.Spawn, queue: str) -> None:
        """Start a child on a task queue, and answer with its PID, or for exec with its result."""
        try:
            given: Any = None if command.options is None else decode(command.options)
            settings = given if isinstance(given, dict) else {}
            options = start_options(settings)
            workflow_id = options.workflow_id or command.name or str(workflow.uuid4())
            start.check_id(workflow_id, options)
            start.check_sizes(
                command.entry, command.args, command.context, command.messages, options.extra
            )
        except PerdureError as error:
            self._run.refuse(command.seq, error)
            return
        if options.task_queue is not None:
            queue = self._run.parts.prefix + options.task_queue
        policy = _CLOSE[close_policy(settings)]
        # What the last step starts is there when the run ends.
        self._run.keep(self._soon(self._start(command, options, workflow_id, queue, policy)))

    def _soon(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _start(
        self,
        command: c.Spawn,
        options: StartOptions,
        workflow_id: str,
        queue: str,
        policy: ParentClosePolicy,
    ) -> None:
        run, pid = self._run, self._run.parts.pid(workflow_id)
        seed = hmac.digest(run.seed, f"child {command.seq}".encode(), "sha256")
        headers = start.start_headers(
            run.parts, command.entry, command.context, run.pid, command.messages, seed,
            options.start_delay, None if queue == run.info.task_queue else run.parts.host_id,
        )  # fmt: skip
        args = raw_args(command.args)
        try:
            check_together(f"the arguments of {command.entry}", args, headers)
            search = await self._search(start.search_of(options.extra))
        except PerdureError as error:
            run.refuse(command.seq, error)
            return
        arguments = start.rules(options, search, run.parts.task_timeout)
        if options.conflict == "terminate_existing":
            arguments["id_reuse_policy"] = WorkflowIDReusePolicy.TERMINATE_IF_RUNNING
        try:
            with h.sending(headers):
                child = await workflow.start_child_workflow(
                    command.entry,
                    args=args,
                    id=workflow_id,
                    task_queue=queue,
                    result_type=RawValue,
                    parent_close_policy=policy,
                    **arguments,
                )
        except WorkflowAlreadyStartedError:
            status = await self._status(workflow_id)
            fails = options.conflict == "fail" or options.error_when_started
            if fails or not await self._joins(workflow_id, status, options, command):
                run.refuse(command.seq, start.exists(pid, workflow_id, status))
                return
            if not command.flags:
                # It is no child: its end is the business of those who ask for it.
                run.answer(command.seq, True, encode(pid))
                return
            there = [workflow_id, ""]
            self._begun(command, pid, there, self._wait(there, f"{command.seq}-end"))
            return
        except FailureError as failed:
            run.refuse(command.seq, error_of(failed))
            return
        begun = [workflow_id, child.first_execution_run_id or ""]
        self._begun(command, pid, begun, self._child(child, begun, command))

    async def _search(self, search: dict[str, Any]) -> Fitted:
        """Search attributes as the server takes them. Raises PerdureError for one it does not."""
        if not search:
            return {}
        fit, refused = await self._run.attributes.fitted(search)
        for error in refused.values():
            raise error
        return fit

    async def _status(self, workflow_id: str) -> str:
        found: str = await workflow.execute_local_activity(
            requests.STATUS, args=[workflow_id], result_type=str, **requests.PATIENT
        )
        return found

    async def _joins(
        self, workflow_id: str, status: str, options: StartOptions, command: c.Spawn
    ) -> bool:
        """Whether a start that was refused finds what it asked for in the workflow that is there
        already."""
        if status == "running" and await self._join(workflow_id, command):
            return True
        # One that may run again was refused because it was running: it has ended since then.
        ended = options.reuse == "allow_duplicate" and status != "gone"
        return ended and not command.messages and workflow.patched(_ENDED)

    async def _join(self, workflow_id: str, command: c.Spawn) -> bool:
        """Give the workflow that is there already its start messages; False when it is gone."""
        handle = workflow.get_external_workflow_handle(workflow_id)
        try:
            with h.sending(h.headers_of({h.SENDER: self._run.pid})):
                for topic, args in command.messages:
                    await handle.signal(topic, args=raw_args(args))
        except FailureError:
            return False
        return True

    async def _child(
        self, child: Awaitable[RawValue], begun: list[str], command: c.Spawn
    ) -> tuple[bool, bytes]:
        """How a child has ended, when it has: its result or error."""
        try:
            return True, encoded(await child)
        except (FailureError, PerdureError) as failed:
            if isinstance(failed.__cause__, CancelledError):
                # The SDK keeps the details back, and with them what the error was.
                return await self._wait(begun, f"{command.seq}-end")
            return False, encode(error_of(failed))

    async def _wait(self, of: list[str], activity_id: str) -> tuple[bool, bytes]:
        """How a workflow has ended, when it has, as the node tells: its result or error."""
        try:
            waiting = self._run.asking.wait_long(requests.WAIT, of, activity_id)
            ok, result = decode(encoded(await waiting))
        except (FailureError, PerdureError) as failed:
            return False, encode(error_of(failed))
        return ok, encode(result)

    def _begun(
        self, command: c.Spawn, pid: str, child: list[str], ended: Awaitable[tuple[bool, bytes]]
    ) -> None:
        """Answer, now or with the result; tell the run of the end, when it comes."""
        self.open.append(child)
        if command.flags & c.EXEC:
            self._soon(self._answer(command, child, ended))
            return
        self._run.answer(command.seq, True, encode(pid))
        self._soon(self._tell(pid, child, ended))

    async def _answer(
        self, command: c.Spawn, child: list[str], ended: Awaitable[tuple[bool, bytes]]
    ) -> None:
        ok, value = await ended
        self.open.remove(child)
        self._run.answer(command.seq, ok, value)

    async def _tell(self, pid: str, child: list[str], ended: Awaitable[tuple[bool, bytes]]) -> None:
        """Tell the run of an end, when it comes."""
        ok, value = await ended
        self.open.remove(child)
        run = self._run
        run.put(inputs.signal(run.pid, exit_event(pid, workflow.time_ns(), ok, value)))
