"""The operations on workflows. A workflow is given by its workflow id or its PID."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hosts.reports import Row
from hosts.where import FIELDS, names, parse
from runtime.config.problems import suggest
from runtime.errors import PerdureError
from supervision.control.timeline import timeline
from supervision.control.waiting import Waiting
from supervision.runs import all_reports, found, reports_of

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
) -> dict[str, Any]:
    """`runs`, see `found`, and `problems`: why hosts cannot tell of theirs."""
    problems: list[PerdureError] = []
    return {"runs": found(node, open, limit, where, problems.append), "problems": problems}


def hint(node: Node, where: str) -> str:
    """What a condition asks for that no run has, and what there is; "" when it is all there, and
    when a host cannot tell."""
    there = {*FIELDS}
    try:
        for reports in all_reports(node):
            there.update(reports.attribute_names())
    except PerdureError:
        return ""
    unknown = sorted(names(parse(where)) - there)
    known = "there are {}"
    return "; ".join(
        f'no run has the attribute "{each}": {suggest(each, there, known)}' for each in unknown
    )


def show(node: Node, workflow: str, run: str = "") -> Row:
    """How the current or last run of a workflow, or that with the run id `run`, stands, and what
    it waits for; see `hosts.reports.Reports.shown`."""
    reports, workflow_id = reports_of(node, workflow)
    return reports.shown(workflow_id, run)


def history(node: Node, workflow: str, run: str = "") -> list[dict[str, Any]]:
    """The history of the current or last run, or that with the run id `run`: seq, at, type, text,
    data of each record."""
    reports, workflow_id = reports_of(node, workflow)
    return timeline(reports.history(workflow_id, run))


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
    """Move open runs of journals to the deployed code, where that fits their histories.

    Of the workflows `ids`, or of all; of this entry and status, and for which the condition
    `where` holds, where those are given. Each run
    with `moved`, and `why` not: "" when it has.
    """
    condition = parse(where) if where else None
    rows: list[dict[str, Any]] = []
    for host in node.workflow_hosts():
        for number, row in list(host.runs(None, True, condition)):
            summary = host.reports.row(row)
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
    reports, workflow_id = reports_of(node, workflow)
    return f"{{{reports.id}|{workflow_id}}}"
