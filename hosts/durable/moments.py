"""A history for a reader: records with their times and the names of their fields.

The layout of the records is that of hosts/durable/records.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from hosts.durable.records import Record, is_input
from hosts.reports import Moment
from runtime.clock import timestamp
from runtime.codec import decode

Fields = dict[str, Any]

#: The run that follows, where there is one.
_NEXT: Final = ("next_run", "next_run_id")
#: Type -> names of what follows it; a star marks an encoded value. The number of a request of the
#: run has the name of what was requested, so that a reader can follow it.
_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "started_again": ("key",),
    "message": ("topic", "from", "payload*", "key"),
    "activity_completed": ("activity", "result*"),
    "activity_failed": ("activity", "error*"),
    "activity_timed_out": ("activity", "error*"),
    "activity_cancelled": ("activity", "error*"),
    "timer_fired": ("timer",),
    "message_answered": ("request", "ok", "answer*"),
    "child_started": ("child", "ok", "answer*"),
    "answered": ("request", "ok", "answer*"),
    "child_ended": ("child", "ok", "result*", "pid", "exec", "at_ns"),
    "event": ("event*",),
    "migrated": ("source",),
    "cancel_requested": ("from", "reason"),
    "step": ("now_ns", "consumed", "machine"),
    "activity_scheduled": ("activity", "target", "args*", "options*", "context*"),
    "activity_cancel_requested": ("activity",),
    "activity_attempt": ("activity", "attempt"),
    "timer_started": ("timer", "ns"),
    "timer_cancelled": ("timer",),
    "message_sent": ("request", "to", "topic", "payload*"),
    "child_requested": ("child", "entry", "host", "args*", "flags", "name", "options*", "context*"),
    "control_sent": ("request", "verb", "to", "reason"),
    "name_requested": ("request", "verb", "name", "target"),
    "asked": ("request", "module", "verb", "args*"),
    "value": ("kind", "value*"),
    "attributes": ("search*", "memo*"),
    "child_close": ("request", "verb", "to", "parent_run", "child"),
    "completed": ("result*", *_NEXT),
    "failed": ("error*", *_NEXT),
    "cancelled": ("error*",),
    "terminated": ("error*",),
    "timed_out": ("error*", *_NEXT),
    "continued": ("entry", "args*", *_NEXT),
}


def moments(history: Sequence[tuple[int, Record]], started_ns: int, ended_ns: int) -> list[Moment]:
    """The records of a history, oldest first, of a run that started and ended at these times.

    Inputs have the time of the step that took them, so those that wait for one have None, as have
    attempts of activities, which belong to no step.
    """
    times = _times(history, started_ns, ended_ns)
    return [
        Moment(seq, at, record[0], _data(record))
        for (seq, record), at in zip(history, times, strict=True)
    ]


def _data(record: Record) -> Fields:
    return _started(record[1]) if record[0] == "started" else _named(record)


def _times(
    history: Sequence[tuple[int, Record]], started_ns: int, ended_ns: int
) -> list[int | None]:
    times: list[int | None] = [None] * len(history)
    waiting: list[int] = []
    now = started_ns
    for place, (_, record) in enumerate(history):
        if record[0] == "step":
            now = record[1]
            for taken in waiting[: record[2]]:
                times[taken] = now
            waiting = waiting[record[2] :]
            times[place] = now
        elif is_input(record):
            waiting.append(place)
        elif record[0] in ("terminated", "timed_out"):
            times[place] = ended_ns
        elif record[0] != "activity_attempt":
            times[place] = now
    if history and history[0][1][0] == "started":
        times[0] = started_ns
    return times


def _started(started: Fields) -> Fields:
    data = {name: started[name] for name in ("entry", "parent", "machine")}
    data["args"] = _decoded(started["args"])
    data["context"] = _decoded(started.get("context"))
    data["messages"] = [[topic, _decoded(args)] for topic, args, *_ in started.get("messages", ())]
    data["source"] = started["source"].hex()
    if "memo" in started:
        data["memo"] = _decoded(started["memo"])
    for name in ("rules", "children", "search"):
        if name in started:
            data[name] = started[name]
    for name in ("begins", "deadline"):
        if name in started:
            data[name] = timestamp(started[name])
    return data | {"run_id": started["info"].get("run_id")}


def _named(record: Record) -> Fields:
    names = _FIELDS.get(record[0], ())
    names += tuple(f"field{place}" for place in range(len(names) + 1, len(record)))
    return {
        name.rstrip("*"): _decoded(value) if name.endswith("*") else value
        for name, value in zip(names, record[1:], strict=False)
    }


def _decoded(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return decode(value)
    except Exception:  # a damaged value is shown as it is, and hides none of the others
        return value
