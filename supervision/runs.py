"""Runs of workflows, as the hosts of a node tell of them: which host has one, and lists of them."""

from __future__ import annotations

from collections.abc import Callable
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

from hosts.durable.host import WorkflowHost
from hosts.reports import Reports, ReportsRuns, Row
from hosts.where import parse
from runtime.errors import Kind, PerdureError
from runtime.ids import is_pid
from supervision.state import State

if TYPE_CHECKING:
    from supervision.node import Node


def all_reports(node: Node) -> list[Reports]:
    """What each host of workflows tells of its runs; those that keep them here come first, and
    those on a server that nobody has started or waits for are left out."""
    hosts = [each for each in node.parts.services.values() if isinstance(each, ReportsRuns)]
    here: list[Reports] = [each.reports for each in hosts if isinstance(each, WorkflowHost)]
    there = [each.reports for each in hosts if not isinstance(each, WorkflowHost)]
    if not there:
        return here
    unused = {
        each.id for each in node.services() if each.state == State.UNKNOWN and not each.waiting_for
    }
    return here + [each for each in there if each.id not in unused]


def found(
    node: Node,
    open: bool,  # noqa: A002
    limit: int,
    where: str,
    on_problem: Callable[[PerdureError], None],
) -> list[Row]:
    """Runs, the newest first; with `open` only those that have not ended; `limit` 0: all.

    Args:
        where: a condition, as `status = "open" and customer = "c-7"`; see hosts.where.
        on_problem: told of each host that cannot tell, or raises.
    """
    if limit < 0:
        raise PerdureError(Kind.INVALID, f"limit {limit}: write a number of runs, or 0 for all")
    condition = parse(where) if where else None
    told = []
    for reports in all_reports(node):
        try:
            told.append(reports.listed(condition, open, limit))
        except PerdureError as error:
            on_problem(error)
    rows = merge(*told, key=lambda row: str(row["started"]), reverse=True)
    return list(islice(rows, limit or None))


def reports_of(node: Node, workflow: str) -> tuple[Reports, str]:
    """Who tells of a workflow, and its workflow id. Raises PerdureError NOT_FOUND, or what kept a
    host from saying whether the workflow is its own."""
    if is_pid(workflow):
        host, _, workflow_id = workflow[1:-1].partition("|")
        for reports in all_reports(node):
            if reports.id == host:
                return reports, workflow_id
        raise PerdureError(Kind.NOT_FOUND, f"no workflow {workflow}")
    problem: PerdureError | None = None
    for reports in all_reports(node):
        try:
            if reports.knows(workflow):
                return reports, workflow
        except PerdureError as error:
            problem = problem or error
    raise problem or PerdureError(Kind.NOT_FOUND, f"no workflow {workflow}")


def host_of(node: Node, workflow: str) -> tuple[WorkflowHost, str]:
    """The host of a workflow on a journal, given by PID or workflow id, and its workflow id.

    Raises PerdureError NOT_FOUND.
    """
    if is_pid(workflow):
        host_id, _, workflow_id = workflow[1:-1].partition("|")
        hosts = [host for host in node.workflow_hosts() if host.id == host_id]
    else:
        workflow_id, hosts = workflow, node.workflow_hosts()
    for host in hosts:
        try:
            host.run(workflow_id)
        except PerdureError:
            continue
        return host, workflow_id
    raise PerdureError(Kind.NOT_FOUND, f"no workflow {workflow}")
