"""The operations on workflows. A workflow is given by its workflow id or its PID."""

from __future__ import annotations

from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any

from hosts.attributes import memo_of, search_of
from hosts.durable.execution import BEGIN, DEADLINE, Execution
from hosts.durable.records import Record
from hosts.durable.replay import restore
from hosts.where import FIELDS, Comparison, names, parse
from journal.records import RunRow
from runtime.clock import timestamp
from runtime.codec import decode
from runtime.config.problems import suggest
from runtime.errors import Kind, PerdureError
from runtime.ids import is_pid
from supervision.control.timeline import timeline
from supervision.control.waiting import Waiting

#: Seconds that a run may take to be replayed.
MOVED_WITHIN = 120.0

if TYPE_CHECKING:
    from hosts.durable.host import WorkflowHost
    from supervision.node import Node


def listed(
    node: Node,
    open: bool = False,  # noqa: A002
    limit: int = 50,
    where: str = "",
) -> list[dict[str, Any]]:
    """Runs, the newest first; with `open` only those that have not ended; `limit` 0: all.

    where: a condition, as `status = "open" and customer = "c-7"`; see hosts.durable.where.
    """
    condition = parse(where) if where else None
    rows = merge(
        *(
            (_summary(host, row) for _, row in host.runs(None, open, condition))
            for host in node.workflow_hosts()
        ),
        key=lambda row: str(row["started"]),
        reverse=True,
    )
    return list(islice(rows, limit or None))


def hint(node: Node, where: str) -> str:
    """What a condition asks for that no run has, and what there is; "" when it is all there."""
    there = {name for host in node.workflow_hosts() for name in host.attribute_names()} | {*FIELDS}
    unknown = sorted(names(parse(where)) - there)
    known = "there are {}"
    return "; ".join(
        f'no run has the attribute "{each}": {suggest(each, there, known)}' for each in unknown
    )


def show(node: Node, workflow: str, run: str = "") -> dict[str, Any]:
    """How the current or last run of a workflow, or that with the run id `run`, stands, and what
    it waits for."""
    host, number, row = _run(node, workflow, run)
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


def history(node: Node, workflow: str, run: str = "") -> list[dict[str, Any]]:
    """The history of the current or last run, or that with the run id `run`: seq, at, type, text,
    data of each record."""
    host, number, row = _run(node, workflow, run)
    return timeline(host.history(number), row.started_ns, row.ended_ns)


def start(
    node: Node,
    entry: str,
    host: str,
    args: list[Any] | None = None,
    id: str | None = None,  # noqa: A002
    search: dict[str, Any] | None = None,
    memo: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    key: str | None = None,
) -> dict[str, Any]:
    """Start a workflow, or find the one that runs under this workflow id; on disk by then.

    Args:
        options: more of its start options, `run_timeout` for `workflow.run_timeout`.
        key: idempotency key.
    """
    given = {**(options or {}), "id": id, "search_attributes": search, "memo": memo}
    settings = {f"workflow.{name}": value for name, value in given.items() if value is not None}
    pid = node.spawn(entry, host, *(args or ()), options=settings, key=key)
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
    node: Node,
    ids: list[Any] | None = None,
    entry: str = "",
    status: str = "",
    where: str = "",
) -> list[dict[str, Any]]:
    """Move open runs to the deployed code, where that fits their histories.

    Of the workflows `ids`, or of all; of this entry and status, and for which the condition
    `where` holds, where those are given. Each run
    with `moved`, and `why` not: "" when it has.
    """
    condition = parse(where) if where else None
    rows: list[dict[str, Any]] = []
    for host in node.workflow_hosts():
        for number, row in list(host.runs(None, True, condition)):
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


def _run(node: Node, workflow: str, run: str) -> tuple[WorkflowHost, int, RunRow]:
    """Host, number and row of the run of a workflow with a run id; "": the current or last."""
    host, workflow_id = node.workflow_host_of(workflow)
    if not run:
        return host, *host.run(workflow_id)
    for number, row in host.runs(where=Comparison("run_id", "=", run)):
        if row.workflow_id == workflow_id:
            return host, number, row
    raise PerdureError(Kind.NOT_FOUND, f"{workflow_id} has no run {run}")


def _pid(node: Node, workflow: str) -> str:
    try:
        host, workflow_id = node.workflow_host_of(workflow)
    except PerdureError:
        found = _on_a_server(node, workflow)
        if found is None:
            raise
        return found
    return f"{{{host.id}|{workflow_id}}}"


def _on_a_server(node: Node, workflow: str) -> str | None:
    """PID of a workflow of a temporal.worker; one given by its id has to be open."""
    pid = workflow if is_pid(workflow) else node.router.lookup(workflow)
    if pid is None:
        return None
    host, registry = pid[1 : pid.find("|")], node.deployed.registry
    return pid if host in registry and registry.get(host).kind == "temporal.worker" else None


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
        "search": search_of(row),
        "memo": memo_of(row.extra),
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
