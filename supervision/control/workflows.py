"""The operations on workflows. A workflow is given by its workflow id or its PID."""

from __future__ import annotations

from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any

from hosts.durable.execution import BEGIN, DEADLINE, Execution
from hosts.durable.records import Record
from hosts.durable.replay import restore
from journal.records import RunRow
from runtime.codec import decode
from runtime.errors import PerdureError
from supervision.control.plain import timestamp
from supervision.control.timeline import timeline
from supervision.control.waiting import Waiting

#: Seconds that a run may take to be replayed.
MOVED_WITHIN = 120.0

if TYPE_CHECKING:
    from hosts.durable.host import WorkflowHost
    from supervision.node import Node


def listed(node: Node, open: bool = False, limit: int = 50) -> list[dict[str, Any]]:  # noqa: A002
    """Runs, the newest first; with `open` only those that have not ended; `limit` 0: all."""
    rows = merge(
        *(
            (_summary(host, row) for _, row in host.runs(None, open))
            for host in node.workflow_hosts()
        ),
        key=lambda row: str(row["started"]),
        reverse=True,
    )
    return list(islice(rows, limit or None))


def show(node: Node, workflow: str) -> dict[str, Any]:
    """How the current or last run of a workflow stands, and what it waits for."""
    host, workflow_id = node.workflow_host_of(workflow)
    number, row = host.run(workflow_id)
    recorded = [record for _, record in host.history(number)]
    execution = Execution(number, row, "")
    steps = restore(execution, recorded, {})
    started = steps.started
    shown = _summary(host, row) | {
        "args": decode(started["args"]) if started else [],
        "parent": started.get("parent", ""),
        "history_length": steps.length,
        "history_size": steps.size,
        "waiting_messages": sum(record[0] == "message" for record in steps.waiting),
        "pending": _pending(execution, recorded) if row.is_open else [],
    }
    if steps.ended is not None and len(steps.ended) > 1:
        key = "result" if steps.ended[0] == "completed" else "error"
        shown[key] = decode(steps.ended[1])
    return shown


def history(node: Node, workflow: str) -> list[dict[str, Any]]:
    """The history of the current or last run: seq, at, type, text, data of each record."""
    host, workflow_id = node.workflow_host_of(workflow)
    number, row = host.run(workflow_id)
    return timeline(host.history(number), row.started_ns, row.ended_ns)


def start(
    node: Node,
    entry: str,
    host: str,
    args: list[Any] | None = None,
    id: str | None = None,  # noqa: A002
) -> dict[str, Any]:
    """Start a workflow, or find the one that runs under this workflow id; on disk by then."""
    options = {"workflow.id": id} if id is not None else None
    pid = node.spawn(entry, host, *(args or ()), options=options)
    return {"pid": pid, "workflow_id": pid[pid.index("|") + 1 : -1]}


def send(
    node: Node,
    workflow: str,
    topic: str,
    payload: list[Any] | None = None,
    key: str | None = None,
) -> None:
    """Send a message to a workflow; on disk by then."""
    node.send(_pid(node, workflow), topic, *(payload or ()), key=key)


def cancel(node: Node, workflow: str, reason: str = "") -> None:
    """Ask a workflow to end; on disk by then."""
    node.cancel(_pid(node, workflow), reason)


def terminate(node: Node, workflow: str) -> None:
    """End a workflow at once; on disk by then."""
    node.terminate(_pid(node, workflow))


def migrate(
    node: Node, ids: list[Any] | None = None, entry: str = "", status: str = ""
) -> list[dict[str, Any]]:
    """Move open runs to the deployed code, where that fits their histories.

    Of the workflows `ids`, or of all; of this entry and status where those are given. Each run
    with `moved`, and `why` not: "" when it has.
    """
    rows: list[dict[str, Any]] = []
    for host in node.workflow_hosts():
        for number, row in list(host.runs(None, open_only=True)):
            summary = _summary(host, row)
            if ids and not {row.workflow_id, row.run_id, summary["pid"]} & set(ids):
                continue
            if (entry and row.entry != entry) or (status and row.status != status):
                continue
            rows.append(summary | _moved(node, host, number))
    return rows


def _moved(node: Node, host: WorkflowHost, run: int) -> dict[str, Any]:
    try:
        verdict: dict[str, Any] = node.clients.ask(
            lambda reply: host.migrate(run, reply), MOVED_WITHIN, f"migration of run {run}"
        )
    except PerdureError as error:
        return {"moved": False, "why": error.message, "latest": False}
    return verdict


def wait(node: Node, workflow: str, timeout: float | None = None) -> Waiting:
    """Wait for the result of a workflow; `timeout` in seconds."""
    return Waiting(node, _pid(node, workflow), timeout)


def _pid(node: Node, workflow: str) -> str:
    host, workflow_id = node.workflow_host_of(workflow)
    return f"{{{host.id}|{workflow_id}}}"


def _summary(host: WorkflowHost, row: RunRow) -> dict[str, Any]:
    return {
        "workflow_id": row.workflow_id,
        "run_id": row.run_id,
        "pid": f"{{{host.id}|{row.workflow_id}}}",
        "entry": row.entry,
        "host": host.id,
        "status": row.status,
        "started": timestamp(row.started_ns),
        "ended": timestamp(row.ended_ns),
        "problem": (row.extra or {}).get("problem"),
    }


def _pending(execution: Execution, recorded: list[Record]) -> list[dict[str, Any]]:
    """What an open run has begun and not heard the end of, in the order of its requests."""
    attempts = {record[1]: record[2] for record in recorded if record[0] == "activity_attempt"}
    children = {record[1]: record[2] for record in recorded if record[0] == "child_requested"}
    rows: dict[int, dict[str, Any]] = {}
    for seq, activity in execution.activities.items():
        rows[seq] = {
            "type": "activity",
            "target": activity.record[2],
            "attempt": attempts.get(seq, 1),
            "since": timestamp(activity.scheduled),
        }
    own = {BEGIN: "begin", DEADLINE: "deadline"}
    for seq, due in execution.timers.items():
        rows[seq] = {"type": own.get(seq, "timer"), "due": timestamp(due)}
    for seq, record in execution.requests.items():
        rows[seq] = {"type": record[0], "target": record[2]}
    for seq in execution.children:
        rows[seq] = {"type": "child", "target": children.get(seq, "")}
    return [{"request": seq, **rows[seq]} for seq in sorted(rows)]
