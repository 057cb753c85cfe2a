"""What a record of a history says, in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from hosts.durable.execution import BEGIN
from runtime.errors import PerdureError
from supervision.control.plain import plain

#: Fields of a record by name, values decoded.
Fields = dict[str, Any]
#: Number (or id) of an activity or child -> the entry that it is of.
Targets = dict[int | str, str]


def in_words(kind: str, data: Fields, targets: Targets) -> str:
    """A record as a sentence on one line; one of an unknown type as its fields."""
    return _TEXTS.get(kind, _other)(data, targets)


def _brief(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, PerdureError):
        return str(value)
    return json.dumps(plain(value), ensure_ascii=False)


def _call(target: str, args: Any) -> str:
    values = args if isinstance(args, list) else [args]
    return f"{target}({', '.join(map(_brief, values))})"


def _payload(values: Any) -> str:
    values = values if isinstance(values, list) else [values]
    return f": {', '.join(map(_brief, values))}" if values else ""


def _because(reason: Any) -> str:
    return f": {reason}" if reason else ""


def _about(number: int | str, targets: Targets) -> str:
    target = targets.get(number)
    return f"{number} ({target})" if target else str(number)


def _duration(ns: int) -> str:
    seconds = ns / 1e9
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def _answer(what: str) -> Callable[[Fields, Targets], str]:
    def text(data: Fields, targets: Targets) -> str:
        verdict = "was answered" if data["ok"] else "was refused"
        return f"{what} {data['request']} {verdict}: {_brief(data['answer'])}"

    return text


def _activity(verb: str, field: str) -> Callable[[Fields, Targets], str]:
    return lambda data, targets: (
        f"activity {_about(data['activity'], targets)} {verb}: {_brief(data[field])}"
    )


def _attempt(data: Fields, targets: Targets) -> str:
    after = f", after {_brief(data['after'])}" if "after" in data else ""
    return f"activity {_about(data['activity'], targets)}: attempt {data['attempt']}{after}"


def _end(verb: str, field: str) -> Callable[[Fields, Targets], str]:
    return lambda data, targets: f"the run {verb}: {_brief(data.get(field))}{_next(data)}"


def _next(data: Fields) -> str:
    return f"; run {data['next_run_id']} follows" if "next_run_id" in data else ""


def _sender(data: Fields) -> str:
    return f" from {data['from']}" if data["from"] else ""


def _child_started(data: Fields, targets: Targets) -> str:
    verdict = "started as" if data["ok"] else "did not start:"
    answer = data["answer"] if isinstance(data["answer"], str) else _brief(data["answer"])
    return f"child {_about(data['child'], targets)} {verdict} {answer}"


def _child_ended(data: Fields, targets: Targets) -> str:
    verdict = "ended with" if data["ok"] else "failed:"
    return f"child {_about(data['child'], targets)} {verdict} {_brief(data['result'])}"


def _attributes(data: Fields, targets: Targets) -> str:
    given = {name: data[name] for name in ("search", "memo") if data[name] is not None}
    return "set " + "; ".join(f"{name} {_brief(value)}" for name, value in given.items())


def _started(data: Fields, targets: Targets) -> str:
    by = f" by {data['parent']}" if data["parent"] else ""
    waits = f", to begin at {data['begins']}" if "begins" in data else ""
    limit = f", to end by {data['deadline']}" if "deadline" in data else ""
    return f"started {_call(data['entry'], data['args'])}{by}{waits}{limit}"


def _step(data: Fields, targets: Targets) -> str:
    count = data["consumed"]
    return f"step: took {count} input{'' if count == 1 else 's'}"


def _other(data: Fields, targets: Targets) -> str:
    return ", ".join(f"{name} {_brief(value)}" for name, value in data.items())


_TEXTS: Final[dict[str, Callable[[Fields, Targets], str]]] = {
    "started": _started,
    "started_again": lambda d, t: f'was asked for again, key "{d["key"]}"',
    "message": lambda d, t: f'message "{d["topic"]}"{_sender(d)}{_payload(d["payload"])}',
    "activity_scheduled": lambda d, t: f"activity {d['activity']}: {_call(d['target'], d['args'])}",
    "activity_attempt": _attempt,
    "activity_completed": _activity("gave", "result"),
    "activity_failed": _activity("failed", "error"),
    "activity_timed_out": _activity("timed out", "error"),
    "activity_cancelled": _activity("was cancelled", "error"),
    "activity_cancel_requested": lambda d, t: f"cancels activity {_about(d['activity'], t)}",
    "timer_started": lambda d, t: f"timer {d['timer']}: {_duration(d['ns'])}",
    "timer_fired": lambda d, t: (
        "its time to begin has come" if d["timer"] == BEGIN else f"timer {d['timer']} fired"
    ),
    "timer_cancelled": lambda d, t: f"timer {d['timer']} cancelled",
    "message_sent": lambda d, t: (
        f'message {d["request"]}: "{d["topic"]}" to {d["to"]}{_payload(d["payload"])}'
    ),
    "message_answered": _answer("message"),
    "answered": _answer("request"),
    "child_requested": lambda d, t: (
        f"child {d['child']}: {_call(d['entry'], d['args'])} on {d['host']}"
    ),
    "child_started": _child_started,
    "child_ended": _child_ended,
    "control_sent": lambda d, t: (
        f"request {d['request']}: {d['verb']} {d['to']}{_because(d['reason'])}"
    ),
    "name_requested": lambda d, t: f'request {d["request"]}: {d["verb"]} the name "{d["name"]}"',
    "asked": lambda d, t: f"request {d['request']}: {d['module']} {d['verb']} {_brief(d['args'])}",
    "event": lambda d, t: f"event {_brief(d['event'])}",
    "migrated": lambda d, t: f"moved to the source {d['source'].hex()[:16]}",
    "cancel_requested": lambda d, t: f"asked to end{_sender(d)}{_because(d['reason'])}",
    "step": _step,
    "step_failed": lambda d, t: f"the step failed, and is tried again: {d['error']}",
    "step_timed_out": lambda d, t: (
        "the step was lost, and is taken again"
        if d["begun"]
        else "the worker that had the run in memory took no step in time: any worker may"
    ),
    "version": lambda d, t: f"takes the version {d['change']}",
    "value": lambda d, t: f"drew {d['kind']}: {_brief(d['value'])}",
    "attributes": _attributes,
    "completed": _end("completed", "result"),
    "failed": _end("failed", "error"),
    "cancelled": _end("was cancelled", "error"),
    "terminated": _end("was terminated", "error"),
    "timed_out": _end("timed out", "error"),
    "continued": lambda d, t: f"the run goes on as {_call(d['entry'], d['args'])}{_next(d)}",
    "child_close": lambda d, t: f"child {_about(d['child'], t)}: {d['verb']} it, as this run ends",
}
