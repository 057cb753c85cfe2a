"""What a history is made of, and the row that says how a run stands.

A record is a list whose first item is one of the types below; what follows it is the host's. A
user reads a history as a timeline that explains the run, so records carry names, times and ids.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

#: Type -> what it records.
RECORD_TYPES: Final[dict[str, str]] = {
    "started": "input, context, options, source hash, seed, parent, machine version",
    "started_again": "a start with an idempotency key that found this run",
    "message": "a message received: topic, payload, from",
    "step": "inputs consumed up to here, workflow time, machine version",
    "activity_scheduled": "a function is to be called: target and arguments",
    "activity_attempt": "an attempt is about to run",
    "activity_completed": "the first recorded result",
    "activity_failed": "the error that ended it",
    "activity_timed_out": "no result in time",
    "activity_cancelled": "cancelled before its result",
    "timer_started": "a durable timer: when it is due",
    "timer_fired": "the timer fell due",
    "timer_cancelled": "the timer is no longer wanted",
    "value": "a recorded value: uuid, random bytes, environment",
    "child_started": "a child run was started: its run and id",
    "child_ended": "how the child ended",
    "message_sent": "a message to elsewhere: target, topic, payload",
    "message_answered": "what the send was answered",
    "version": "the branch that workflow.version took",
    "attributes": "search attributes and memo set by the run",
    "migrated": "moved to the deployed code: its source hash",
    "cancel_requested": "somebody asked the run to end",
    "completed": "the result",
    "failed": "the error",
    "cancelled": "ended by a request",
    "terminated": "ended from outside, without its consent",
    "timed_out": "its run or execution timeout passed",
    "continued": "went on as a new run: which",
    "child_close": "a child is to end as its parent has",
}

#: Statuses in which a run still owns timers, activities and messages to come.
OPEN_STATUSES: Final = frozenset({"open", "suspended"})
#: Statuses in which a run only answers.
ENDED_STATUSES: Final = frozenset(
    {"completed", "failed", "cancelled", "terminated", "timed_out", "continued"}
)


class RunRow(NamedTuple):
    """How a run stands.

    Attributes:
        workflow_id: what the user calls it; later runs may have the same.
        run_id: UUID of this run.
        entry: id of the workflow's entry.
        host: id of the entry of its workflow host.
        status: one of `OPEN_STATUSES` or `ENDED_STATUSES`.
        started_ns: wall clock, nanoseconds since the epoch.
        ended_ns: likewise, 0 while it is open.
        parent: number of the parent run, 0 for none.
        parent_seq: seq of the record in the parent's history that started this run.
        extra: what else the host keeps, MessagePack-able, or None; `search` in it are the
            attributes by which the index has the run.
    """

    workflow_id: str
    run_id: str
    entry: str
    host: str
    status: str
    started_ns: int
    ended_ns: int = 0
    parent: int = 0
    parent_seq: int = 0
    extra: dict[str, Any] | None = None

    def ended(self, status: str, at: int, extra: dict[str, Any] | None) -> RunRow:
        """The row of the run once it has ended; in a third of the time that _replace takes."""
        id_, run_id, entry, host, _, started, _, parent, parent_seq, _ = self
        return RunRow(
            id_, run_id, entry, host, status, started, at, parent, parent_seq, extra
        )  # fmt: skip

    @property
    def is_open(self) -> bool:
        """True while the run may still do something."""
        return self.status in OPEN_STATUSES
