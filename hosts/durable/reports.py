"""What a workflow host tells people of the runs in its journal."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from hosts.attributes import memo_of, search_of
from hosts.durable.execution import BEGIN, DEADLINE, Execution
from hosts.durable.moments import moments
from hosts.durable.records import Record
from hosts.durable.replay import restore
from hosts.reports import Moment, Row, pending_row
from hosts.where import Comparison, Condition
from journal.records import RunRow
from runtime.clock import timestamp
from runtime.codec import decode
from runtime.errors import Kind, PerdureError

if TYPE_CHECKING:
    from hosts.durable.host import WorkflowHost

#: What the end of a run gave, by the type of its record; others give an error.
_RESULTS = {"completed": "result", "continued": None}


class JournalReports:
    """See `hosts.reports.Reports`."""

    def __init__(self, host: WorkflowHost) -> None:
        self._host = host

    @property
    def id(self) -> str:
        return self._host.id

    def listed(self, condition: Condition | None, open_only: bool, limit: int) -> Iterator[Row]:
        rows = (self.row(row) for _, row in self._host.runs(None, open_only, condition))
        return islice(rows, limit or None)

    def attribute_names(self) -> Collection[str]:
        return self._host.attribute_names()

    def knows(self, workflow_id: str) -> bool:
        try:
            self._host.run(workflow_id)
        except PerdureError:
            return False
        return True

    def shown(self, workflow_id: str, run_id: str) -> Row:
        number, row = self._run(workflow_id, run_id)
        recorded = [record for _, record in self._host.history(number)]
        execution = Execution(number, row, "")
        steps = restore(execution, recorded, {})
        started = steps.started
        shown = self.row(row) | {
            "args": decode(started["args"]) if started else [],
            "parent": started.get("parent", ""),
            "history_length": steps.length,
            "history_size": steps.size,
            "waiting_messages": sum(record[0] == "message" for record in steps.waiting),
            "pending": _pending(execution, recorded) if row.is_open else [],
        }
        if steps.ended is not None and len(steps.ended) > 1:
            key = _RESULTS.get(steps.ended[0], "error")
            if key is not None:
                shown[key] = decode(steps.ended[1])
        return shown

    def history(self, workflow_id: str, run_id: str) -> list[Moment]:
        number, row = self._run(workflow_id, run_id)
        return moments(self._host.history(number), row.started_ns, row.ended_ns)

    def row(self, row: RunRow) -> Row:
        """The row of a run as people get it."""
        return {
            "workflow_id": row.workflow_id,
            "run_id": row.run_id,
            "pid": f"{{{self.id}|{row.workflow_id}}}",
            "entry": row.entry,
            "host": self.id,
            "status": row.status,
            "started": timestamp(row.started_ns),
            "ended": timestamp(row.ended_ns),
            "problem": (row.extra or {}).get("problem"),
            "search": search_of(row),
            "memo": memo_of(row.extra),
        }

    def _run(self, workflow_id: str, run_id: str) -> tuple[int, RunRow]:
        """Number and row of a run; "": the current or last of its workflow."""
        if not run_id:
            return self._host.run(workflow_id)
        for number, row in self._host.runs(where=Comparison("run_id", "=", run_id)):
            if row.workflow_id == workflow_id:
                return number, row
        raise PerdureError(Kind.NOT_FOUND, f"{workflow_id} has no run {run_id}")


def _pending(execution: Execution, recorded: list[Record]) -> list[Row]:
    """What an open run has begun and not heard the end of, in the order of its requests."""
    attempts = {record[1]: record[2] for record in recorded if record[0] == "activity_attempt"}
    children = {record[1]: record[2] for record in recorded if record[0] == "child_requested"}
    rows: dict[int, Row] = {}
    for seq, activity in execution.activities.items():
        rows[seq] = pending_row(
            seq, "activity", activity.record[2],
            attempt=attempts.get(seq, 1), since=timestamp(activity.scheduled),
        )  # fmt: skip
    own = {BEGIN: "begin", DEADLINE: "deadline"}
    for seq, due in execution.timers.items():
        rows[seq] = pending_row(seq, own.get(seq, "timer"), due=timestamp(due))
    for seq, record in execution.requests.items():
        rows[seq] = pending_row(seq, record[0], record[2])
    for seq in execution.children:
        rows[seq] = pending_row(seq, "child", children.get(seq))
    return [rows[seq] for seq in sorted(rows)]
