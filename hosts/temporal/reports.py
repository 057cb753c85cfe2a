"""What a worker tells people of the runs that the server has of its task queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from datetime import timedelta
from typing import Any, Final, TypeVar

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo, WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.service import RPCError, RPCStatusCode

from hosts.reports import Moment, Row, pending_row
from hosts.temporal.connection import TemporalClient
from hosts.temporal.failures import error_of, is_late, is_unreached
from hosts.temporal.moments import History
from hosts.temporal.readable import error, memo_of, ns_of, number_of, search_of
from hosts.temporal.visibility import PROBLEMS, STATUSES, query
from hosts.where import FIELDS, Condition
from journal.attributes import Value
from runtime.clock import timestamp
from runtime.errors import Kind, PerdureError

T = TypeVar("T")

#: For each request to the server.
_TIME: Final = timedelta(seconds=5)
_PAGE: Final = 1000


class ServerReports:
    """See `hosts.reports.Reports`. Asks the server, so its worker need not run.

    A list is what the server's visibility store has: the open runs first, then those that ended
    last, of which a limit takes the first.

    Args:
        client: gives the client.
        queue_on: the task queue of the worker at the server of a client.
    """

    def __init__(
        self,
        worker_id: str,
        client: Callable[[], TemporalClient],
        queue_on: Callable[[TemporalClient], str],
    ) -> None:
        self.id = worker_id
        self._client = client
        self._queue_on = queue_on

    def listed(self, condition: Condition | None, open_only: bool, limit: int) -> list[Row]:
        rows = self._asked(lambda client: self._listed(client, condition, open_only, limit))
        return sorted(rows, key=lambda row: str(row["started"]), reverse=True)

    def attribute_names(self) -> Collection[str]:
        return self._asked(lambda client: client.attribute_types())

    def knows(self, workflow_id: str) -> bool:
        async def known(client: TemporalClient) -> bool:
            try:
                told = await _described(client, workflow_id, "")
            except RPCError as failed:
                if failed.status == RPCStatusCode.NOT_FOUND:
                    return False
                raise
            return told.workflow_execution_info.task_queue == self._queue_on(client)

        return self._asked(known)

    def shown(self, workflow_id: str, run_id: str) -> Row:
        async def told(client: TemporalClient) -> Row:
            described = await _described(client, workflow_id, run_id)
            run = described.workflow_execution_info
            history = await self._read(client, workflow_id, run.execution.run_id)
            return self._shown(described, history)

        return self._found(told, workflow_id, run_id)

    def history(self, workflow_id: str, run_id: str) -> list[Moment]:
        async def told(client: TemporalClient) -> list[Moment]:
            return (await self._read(client, workflow_id, run_id)).moments

        return self._found(told, workflow_id, run_id)

    # Asking ---------------------------------------------------------------------------------------

    def _asked(self, ask: Callable[[TemporalClient], Coroutine[Any, Any, T]]) -> T:
        """What the server says. Raises PerdureError, which names the worker."""
        client = self._client()
        try:
            client.opened()
            return client.submit(ask(client)).result()
        except RPCError as failed:
            if is_unreached(failed) or is_late(failed):
                text = f"the Temporal server at {client.address} does not answer"
                raise PerdureError(Kind.UNAVAILABLE, f"{self.id}: {text}", True) from None
            refusal = error_of(failed)
            text = f"{self.id}: {refusal.message}"
            raise PerdureError(refusal.kind, text, refusal.retryable) from None
        except PerdureError as failed:
            text = f"{self.id}: {failed.message}"
            raise PerdureError(failed.kind, text, failed.retryable) from None

    def _found(
        self, ask: Callable[[TemporalClient], Coroutine[Any, Any, T]], workflow_id: str, run_id: str
    ) -> T:
        try:
            return self._asked(ask)
        except PerdureError as failed:
            if failed.kind not in (Kind.NOT_FOUND, Kind.INVALID):
                raise
            text = f"{workflow_id} has no run {run_id}" if run_id else f"no workflow {workflow_id}"
            raise PerdureError(Kind.NOT_FOUND, text) from None

    async def _listed(
        self, client: TemporalClient, condition: Condition | None, open_only: bool, limit: int
    ) -> list[Row]:
        types = {} if condition is None else await client.attribute_types()
        asked = query(self._queue_on(client), condition, open_only, types)
        rows: list[Row] = []
        async for run in _executions(client, asked, limit or _PAGE):
            row = self._row(run)
            if condition is None or condition.holds(_Fields(row)):
                rows.append(row)
                if len(rows) == limit:
                    break
        return rows

    async def _read(self, client: TemporalClient, workflow_id: str, run_id: str) -> History:
        history = History(self._pid, client.prefix)
        async for page in _events(client, workflow_id, run_id):
            history.read(page)
        return history

    # Telling --------------------------------------------------------------------------------------

    def _pid(self, workflow_id: str) -> str:
        return f"{{{self.id}|{workflow_id}}}"

    def _row(self, run: WorkflowExecutionInfo) -> Row:
        is_open = not ns_of(run.close_time)
        fields = run.search_attributes.indexed_fields
        status = STATUSES.get(run.status, "open")
        return {
            "workflow_id": run.execution.workflow_id,
            "run_id": run.execution.run_id,
            "pid": self._pid(run.execution.workflow_id),
            "entry": run.type.name,
            "host": self.id,
            "status": "suspended" if is_open and PROBLEMS in fields else status,
            "started": timestamp(ns_of(run.start_time)),
            "ended": timestamp(ns_of(run.close_time)),
            "problem": None,
            "search": search_of(fields),
            "memo": memo_of(run.memo),
        }

    def _shown(self, described: DescribeWorkflowExecutionResponse, history: History) -> Row:
        run, moments = described.workflow_execution_info, history.moments
        row, last = self._row(run), moments[-1]
        shown = row | {
            "args": moments[0].data["args"],
            "parent": moments[0].data["parent"],
            "history_length": run.history_length,
            "history_size": run.history_size_bytes,
            "waiting_messages": sum(kind == "message" for _, kind in history.waiting),
            "pending": [] if row["ended"] else _pending(described, moments),
        }
        if row["ended"] is None and history.problem is not None:
            attempt = described.pending_workflow_task.attempt
            shown["status"] = "suspended"
            shown["problem"] = f"{history.problem} (attempt {attempt} of its step)"
        for name in ("result", "error"):
            if row["ended"] and name in last.data:
                shown[name] = last.data[name]
        return shown


class _Fields:
    """A row, as a condition sees it."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def get(self, name: str, /) -> Value | None:
        if name in FIELDS:
            return self._row[name] or ""
        found: Value | None = self._row["search"].get(name)
        return found


def _pending(described: DescribeWorkflowExecutionResponse, moments: list[Moment]) -> list[Row]:
    """What an open run has begun and not heard the end of."""
    timers: dict[int | str, Row] = {}
    children: dict[int, Row] = {}
    for _, at, kind, data in moments:
        if kind == "timer_started":
            due = timestamp((at or 0) + data["ns"])
            timers[data["timer"]] = pending_row(data["timer"], "timer", due=due)
        elif kind in ("timer_fired", "timer_cancelled"):
            timers.pop(data["timer"], None)
        elif kind == "child_requested":
            children[data["child"]] = pending_row(data["child"], "child", data["entry"])
        elif kind == "child_ended" or (kind == "child_started" and not data["ok"]):
            children.pop(data["child"], None)
    activities = [_activity(each) for each in described.pending_activities]
    return [*activities, *timers.values(), *children.values()]


def _activity(pending: PendingActivityInfo) -> Row:
    failed = pending.HasField("last_failure")
    begun, next_at = ns_of(pending.last_started_time), ns_of(pending.next_attempt_schedule_time)
    return pending_row(
        number_of(pending.activity_id),
        "activity",
        pending.activity_type.name,
        attempt=pending.attempt,
        since=timestamp(begun or ns_of(pending.scheduled_time)),
        due=timestamp(next_at),
        failure=str(error(pending.last_failure)) if failed else None,
    )


async def _patiently(ask: Callable[..., Awaitable[T]], request: Any) -> T:
    """What the server answers to a request. A person waits: who is away is asked once more, as a
    connection that was lost shows by a failure, and not for as long as the SDK would."""
    try:
        return await ask(request, timeout=_TIME)
    except RPCError as failed:
        if not is_unreached(failed):
            raise
    return await ask(request, timeout=_TIME)


async def _described(
    client: TemporalClient, workflow_id: str, run_id: str
) -> DescribeWorkflowExecutionResponse:
    request = DescribeWorkflowExecutionRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
    )
    service = client.opened().workflow_service
    return await _patiently(service.describe_workflow_execution, request)


async def _executions(
    client: TemporalClient, asked: str, page: int
) -> AsyncIterator[WorkflowExecutionInfo]:
    """The runs that a query finds, in the server's order."""
    request = ListWorkflowExecutionsRequest(
        namespace=client.namespace, query=asked, page_size=min(page, _PAGE)
    )
    service = client.opened().workflow_service
    while True:
        told = await _patiently(service.list_workflow_executions, request)
        for run in told.executions:
            yield run
        if not told.next_page_token:
            return
        request.next_page_token = told.next_page_token


async def _events(
    client: TemporalClient, workflow_id: str, run_id: str
) -> AsyncIterator[list[HistoryEvent]]:
    """The pages of a history."""
    request = GetWorkflowExecutionHistoryRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
    )
    service = client.opened().workflow_service
    while True:
        told = await _patiently(service.get_workflow_execution_history, request)
        yield list(told.history.events)
        if not told.next_page_token:
            return
        request.next_page_token = told.next_page_token
