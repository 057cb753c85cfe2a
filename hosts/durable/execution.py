"""A live run: what its history amounts to, kept up to date record by record.

The same bookkeeping serves a run that steps and one that is rebuilt from its history.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from hosts.durable import keys
from hosts.durable.records import Record, Step, size_of
from hosts.start_options import NO_RULES, Rules
from journal.records import RunRow
from journal.unit import Unit
from runtime import commands as c
from runtime.codec import decode

_ACTIVITY_ENDS = frozenset(
    {"activity_completed", "activity_failed", "activity_timed_out", "activity_cancelled"}
)
_REQUESTS = frozenset(
    {"message_sent", "child_requested", "control_sent", "name_requested", "asked", "child_close"}
)
_ANSWERS = frozenset({"message_answered", "child_started", "answered"})


#: Numbers of a run's own timers, above those of any command: when it begins, and when its time is
#: up.
BEGIN: Final = (1 << 32) - 1
DEADLINE: Final = (1 << 32) - 2


class Activity:
    """An activity that has no result yet."""

    __slots__ = (
        "alone",
        "attempt",
        "cancelled",
        "details",
        "kept",
        "record",
        "restored",
        "scheduled",
    )

    def __init__(self, record: Record, scheduled: int) -> None:
        self.record = record
        self.scheduled = scheduled  #: workflow time, ns
        self.attempt = 1
        #: The run no longer wants its result.
        self.cancelled = False
        #: Boots in which it ran alone after a crash and took the node down again.
        self.alone = 0
        #: Those of the last heartbeat, encoded.
        self.details: bytes | None = None
        #: It was scheduled before its run came into memory.
        self.restored = False
        #: The journal has a row of it.
        self.kept = False

    def keep(self, run: int, unit: Unit) -> None:
        """Have the journal keep what the history does not tell of it."""
        unit.put_activity(run, self.record[1], [self.attempt, self.alone, self.details])
        self.kept = True

    def restore(self, row: list[Any]) -> None:
        """Take up what the journal kept; rows of older versions have no details."""
        self.kept = True
        self.attempt, self.alone, *details = row
        self.details = details[0] if details else None


class Child(NamedTuple):
    """A child that has not ended, and the request that it is."""

    pid: str
    entry: str
    options: bytes | None
    run: int
    seq: int


class Execution:
    """A run that is in memory; owned by the shard of its workflow id.

    Attributes:
        pid: PID of the workflow, as text.
        definition: what the machine runs it as (see sources.py).
        waiting: input records that are journaled, but no step has consumed.
        fresh: input records that are neither.
        unit: what goes to disk with the fresh inputs: index rows that they settle.
        busy: the journal has its mark of a run with pending activities.
        acks, effects: replies owed, and what else is to be done, once the fresh inputs are on disk.
        rules: how it is timed and repeated.
        inherited: by PID, children that the run had before it was upgraded.
        used: number of the last unit of its shard that was about it; the least recently used run
            has the lowest.
    """

    __slots__ = (
        "acks", "activities", "busy", "children", "context", "definition", "effects", "ended",
        "fresh", "inherited", "length", "now", "pid", "requests", "row", "rules", "run", "size",
        "stale", "suspended", "timers", "unit", "used", "waiting",
    )  # fmt: skip

    def __init__(self, run: int, row: RunRow, pid: str) -> None:
        self.run = run
        self.row = row
        self.pid = pid
        self.definition = row.entry
        self.now = 0
        self.length = 0
        self.size = 0
        self.activities: dict[int, Activity] = {}
        self.busy = False
        self.timers: dict[int, int] = {}
        self.requests: dict[int, Record] = {}
        self.children: dict[int, Child] = {}
        self.inherited: dict[str, Child] = {}
        self.rules = NO_RULES
        self.waiting: list[Record] = []
        self.fresh: list[Record] = []
        self.unit = Unit()
        self.acks: list[Any] = []
        self.effects: list[Callable[[], object]] = []
        self.suspended = row.status == "suspended"
        self.ended = False
        #: Its entry is `latest`, and has other code by now.
        self.stale = False
        self.used = 0
        self.context: bytes | None = None

    @property
    def starting(self) -> bool:
        """Nothing of it is written yet."""
        return bool(self.fresh) and bool(self.fresh[0][0] == "started")

    @property
    def may_leave(self) -> bool:
        """It waits, and can be rebuilt; a parked one hears of new code only while it is here."""
        return not (self.fresh or self.ended or self.suspended)

    def begin(self, started: dict[str, Any]) -> None:
        """Come to where the `started` record puts it."""
        self.context = started.get("context")
        if "rules" in started:
            self.rules = Rules.of(started)
        if "children" in started:
            self.inherited = {child[0]: Child(*child) for child in started["children"]}
        if begins := started.get("begins"):
            self.timers[BEGIN] = begins
        if deadline := started.get("deadline"):
            self.timers[DEADLINE] = deadline

    @property
    def dormant(self) -> bool:
        """Whether it takes no step: it is suspended, or its time to begin has not come."""
        return self.suspended or BEGIN in self.timers

    def count(self, records: list[Record]) -> None:
        """Count records towards length and size of the history."""
        self.length += len(records)
        self.size += size_of(records)

    def wants(self, command: c.Command) -> bool:
        """Whether a command is still to be performed: an ended run has only what it asked of
        others, and log lines."""
        if not self.ended:
            return True
        seq = getattr(command, "seq", None)
        return seq is None or seq in self.requests

    def expects(self, record: Record) -> bool:
        """Whether an answer is still wanted: the first one recorded wins."""
        kind, seq = record[0], record[1]
        if kind in _ACTIVITY_ENDS:
            return seq in self.activities
        if kind == "timer_fired":
            return seq in self.timers
        if kind == "child_ended":
            return seq in self.children or seq in self.requests
        if kind in _ANSWERS:
            return seq in self.requests
        return True

    def take(self, record: Record) -> None:
        """Note a fresh input, for the next step."""
        self.fresh.append(record)
        self.consume(record, self.unit)

    def mark(self, unit: Unit) -> None:
        """Let the journal's mark say whether activities are pending."""
        if self.busy != bool(self.activities):
            self.busy = not self.busy
            if self.busy:
                unit.put_busy(self.run)
            else:
                unit.del_busy(self.run)

    def taken(self) -> None:
        """The fresh inputs, what is owed for them and their unit are on their way to disk."""
        self.fresh, self.acks, self.effects, self.unit = [], [], [], Unit()

    def consume(self, record: Record, unit: Unit | None) -> None:
        """Note an input; index rows that it settles are deleted in `unit`."""
        kind = record[0]
        if kind in _ACTIVITY_ENDS:
            activity = self.activities.pop(record[1], None)
            if unit is not None and activity is not None and activity.kept:
                unit.del_activity(self.run, record[1])
        elif kind == "timer_fired":
            due = self.timers.pop(record[1], None)
            if unit is not None and due is not None:
                unit.del_timer(self.run, record[1], due)
        elif kind in _ANSWERS or kind == "child_ended":
            seq = record[1]
            request = self.settle(seq, unit)
            if kind == "child_started" and record[2] and request is not None:
                pid = str(decode(record[3]))
                self.children[seq] = Child(pid, request[2], request[7], self.run, seq)
            elif kind == "child_ended":
                self.children.pop(seq, None)
        elif kind == "message":
            if unit is not None and len(record) > 4:
                unit.put_dedupe(record[4].encode(), True)
        elif kind == "event" and self.inherited:
            event = decode(record[1])
            if event["kind"] == "pid.exit":
                self.inherited.pop(event["from"], None)

    def pass_by(self, step: Step) -> None:
        """Note a step of the history that the run is rebuilt from."""
        if step.inputs and step.inputs[0][0] == "started":
            self.begin(step.inputs[0][1])
        self.now = step.now
        for record in step.inputs:
            self.consume(record, None)
        for record in step.commands:
            self.issue(record, None)

    def settle(self, seq: int, unit: Unit | None) -> Record | None:
        """A request is answered: its record, if it was still open."""
        request = self.requests.pop(seq, None)
        if unit is not None and request is not None:
            unit.del_outbox(self.run, seq)
            if request[0] == "message_sent":
                unit.del_dedupe(keys.of_send(self.run, seq).encode())
            elif request[0] == "child_requested":
                unit.del_dedupe(keys.of_start("", ("", self.run, seq)).encode())
        return request

    @staticmethod
    def is_request(record: Record) -> bool:
        """Whether a record asks something of the node that is answered."""
        return record[0] in _REQUESTS

    def issue(self, record: Record, unit: Unit | None) -> None:
        """Note a command; index rows that it needs are put in `unit`."""
        kind = record[0]
        if kind == "activity_scheduled":
            self.activities[record[1]] = Activity(record, self.now)
        elif kind == "activity_cancel_requested":
            if record[1] in self.activities:
                self.activities[record[1]].cancelled = True
        elif kind == "timer_started":
            due = self.now + record[2]
            self.timers[record[1]] = due
            if unit is not None:
                unit.put_timer(self.run, record[1], due)
        elif kind == "timer_cancelled":
            stale = self.timers.pop(record[1], None)
            if unit is not None and stale is not None:
                unit.del_timer(self.run, record[1], stale)
        elif kind in _REQUESTS:
            self.requests[record[1]] = record
            if unit is not None:
                unit.put_outbox(self.run, record[1], None)

    def clear(self, unit: Unit) -> None:
        """The run ends: nothing of it is pending any more but what it asked of others."""
        for seq, activity in self.activities.items():
            if activity.kept:
                unit.del_activity(self.run, seq)
        self.activities.clear()
        self.mark(unit)
        for seq, due in self.timers.items():
            unit.del_timer(self.run, seq, due)
        for seq in [seq for seq, record in self.requests.items() if is_result(record)]:
            self.settle(seq, unit)


def is_result(record: Record) -> bool:
    """Whether a request is for a result that only its run could use."""
    return record[0] == "child_requested" and is_exec(record)


def is_exec(record: Record) -> bool:
    """Whether a child_requested record waits for the child's result."""
    return bool(record[5] & c.EXEC)
