"""An attempt of an activity: what it is told, what it holds, what becomes of its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hosts.activity_options import option
from hosts.calls import Cancel
from hosts.durable.execution import Execution
from hosts.durable.records import Record
from runtime.codec import decode
from runtime.errors import Kind, PerdureError

_RESULT_RECORDS: Final = {
    Kind.TIMEOUT: "activity_timed_out",
    Kind.CANCELED: "activity_cancelled",
}
#: Run and number of an activity.
Key = tuple[int, int]


def _nothing() -> None:
    """What there is to do where nothing is."""


class Attempt:
    """An attempt that is under way.

    Attributes:
        key: run and number of the activity.
        leave: gives its place back.
        writing: heartbeat details are on their way to the disk.
        unwritten: later details wait for these.
    """

    __slots__ = ("cancel", "key", "leave", "unwritten", "writing")

    def __init__(self, key: Key, leave: Callable[[], None]) -> None:
        self.key = key
        self.cancel: Cancel = _nothing
        self.leave = leave
        self.writing = False
        self.unwritten = False


def check_id(execution: Execution, seq: int, own_id: str) -> None:
    """Raises PerdureError ALREADY_EXISTS when an earlier activity that is pending has the id."""
    for other, activity in execution.activities.items():
        raw = activity.record[4]
        if other < seq and raw is not None:
            given = decode(raw)
            if isinstance(given, dict) and option(given, "activity.id") == own_id:
                text = f'activity.id "{own_id}" is that of activity {other}, which is pending'
                raise PerdureError(Kind.ALREADY_EXISTS, text, False)


def result_record(seq: int, ok: bool, value: bytes) -> Record:
    if ok:
        return ["activity_completed", seq, value]
    return [_RESULT_RECORDS.get(decode(value).kind, "activity_failed"), seq, value]
