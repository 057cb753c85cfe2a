"""A history of the server for a reader: its events, in the words of the histories of journals.

An event becomes the record that a journal would have in its place. What no journal has (a step that
failed) gets a type of its own, and what nobody needs to read (that a step was scheduled) none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.history.v1 import HistoryEvent

from hosts.reports import Moment
from hosts.temporal import headers as h
from hosts.temporal import requests, start
from hosts.temporal.failures import error_of_details
from hosts.temporal.readable import (
    error,
    header,
    memo_of,
    ns_of,
    number_of,
    search_of,
    value,
    values,
)
from runtime.clock import timestamp
from runtime.errors import Kind, PerdureError

#: Type and data of a moment; None for an event that has none.
Told = tuple[str, dict[str, Any]] | None

_SUFFIX: Final = "_event_attributes"
#: What a step takes.
_INPUTS: Final = frozenset(
    {
        "started", "message", "event", "cancel_requested", "activity_completed", "activity_failed",
        "activity_timed_out", "activity_cancelled", "timer_fired", "child_started", "child_ended",
        "message_answered",
    }
)  # fmt: skip


class History:
    """Reads the events of a run.

    Args:
        pid: of a workflow id.
        prefix: of task queues, as the client has it.

    Attributes, as of what was read so far:
        moments: the oldest first.
        waiting: number and type of the inputs that no step has taken.
        problem: why the last step failed, None when it did not.
    """

    def __init__(self, pid: Callable[[str], str], prefix: str) -> None:
        self.pid = pid
        self.prefix = prefix
        self.moments: list[Moment] = []
        self.waiting: list[tuple[int, str]] = []
        self.problem: str | None = None
        #: Number of the event by which it was scheduled -> its id.
        self.activities: dict[int, int | str] = {}
        #: Who has asked for the end.
        self.canceller = ""

    def read(self, events: Iterable[HistoryEvent]) -> None:
        """Take up events, in their order."""
        for event in events:
            told = self._told(event)
            if told is not None:
                kind, data = told
                if kind in _INPUTS:
                    self.waiting.append((event.event_id, kind))
                self.moments.append(Moment(event.event_id, ns_of(event.event_time), kind, data))

    def _told(self, event: HistoryEvent) -> Told:
        field = event.WhichOneof("attributes")
        if field is None:
            return f"event_type_{event.event_type}", {}
        name, said = field.removesuffix(_SUFFIX), getattr(event, field)
        tell = _TELLERS.get(name)
        return (name, MessageToDict(said)) if tell is None else tell(self, event, said)

    def activity(self, said: Any) -> dict[str, Any]:
        """Which activity an event tells of."""
        number: int = said.scheduled_event_id
        return {"activity": self.activities.get(number, number)}


def _started(history: History, event: HistoryEvent, said: Any) -> Told:
    headers, info = said.header.fields, said.parent_workflow_execution
    data = {
        "entry": said.workflow_type.name,
        "parent": header(headers, h.PARENT)
        or (history.pid(info.workflow_id) if info.workflow_id else ""),
        "args": values(said.input),
        "context": header(headers, h.CONTEXT),
        "messages": [each[:2] for each in header(headers, h.MESSAGES) or ()],
        "attempt": said.attempt,
        "memo": memo_of(said.memo),
        "search": search_of(said.search_attributes.indexed_fields),
        "run_id": said.original_execution_run_id,
    }
    begins = ns_of(event.event_time) + said.first_workflow_task_backoff.ToNanoseconds()
    limit = said.workflow_run_timeout.ToNanoseconds()
    if said.first_workflow_task_backoff.ToNanoseconds():
        data["begins"] = timestamp(begins)
    if limit:
        data["deadline"] = timestamp(begins + limit)
    return "started", data


def _signaled(history: History, event: HistoryEvent, said: Any) -> Told:
    sender, args = header(said.header.fields, h.SENDER) or "", values(said.input)
    if said.signal_name == requests.CANCEL:
        history.canceller = sender
        return ("cancel_requested", {"from": sender, "reason": args[0]}) if args else None
    if said.signal_name == requests.EVENT:
        return "event", {"event": args[0] if args else None}
    return "message", {"topic": said.signal_name, "from": sender, "payload": args}


def _step(history: History, event: HistoryEvent, said: Any) -> Told:
    last, waiting = said.started_event_id, history.waiting
    history.waiting = [each for each in waiting if each[0] > last]
    history.problem = None
    return "step", {"consumed": len(waiting) - len(history.waiting)}


def _step_failed(history: History, event: HistoryEvent, said: Any) -> Told:
    history.problem = said.failure.message
    return "step_failed", {"error": said.failure.message}


def _scheduled(history: History, event: HistoryEvent, said: Any) -> Told:
    number = history.activities[event.event_id] = number_of(said.activity_id)
    return "activity_scheduled", {
        "activity": number,
        "target": said.activity_type.name,
        "args": values(said.input),
        "context": header(said.header.fields, h.CONTEXT),
    }


def _activity(kind: str, what: Callable[[Any], dict[str, Any]]) -> Teller:
    return lambda history, event, said: (kind, {**history.activity(said), **what(said)})


def _attempt(history: History, event: HistoryEvent, said: Any) -> Told:
    data = {**history.activity(said), "attempt": said.attempt}
    if said.HasField("last_failure"):
        data["after"] = error(said.last_failure)
    return "activity_attempt", data


def _timer_started(history: History, event: HistoryEvent, said: Any) -> Told:
    ns = said.start_to_fire_timeout.ToNanoseconds()
    return "timer_started", {"timer": number_of(said.timer_id), "ns": ns}


def _timer(kind: str) -> Teller:
    return lambda history, event, said: (kind, {"timer": number_of(said.timer_id)})


def _child_requested(history: History, event: HistoryEvent, said: Any) -> Told:
    return "child_requested", {
        "child": event.event_id,
        "entry": said.workflow_type.name,
        "host": said.task_queue.name.removeprefix(history.prefix),
        "args": values(said.input),
        "name": said.workflow_id,
        "context": header(said.header.fields, h.CONTEXT),
    }


def _child_started(history: History, event: HistoryEvent, said: Any) -> Told:
    pid = history.pid(said.workflow_execution.workflow_id)
    return "child_started", {"child": said.initiated_event_id, "ok": True, "answer": pid}


def _child_refused(history: History, event: HistoryEvent, said: Any) -> Told:
    text = f"workflow {said.workflow_id} is running, or has run before"
    answer = PerdureError(Kind.ALREADY_EXISTS, text)
    return "child_started", {"child": said.initiated_event_id, "ok": False, "answer": answer}


def _child_ended(ok: bool, what: Callable[[Any], Any]) -> Teller:
    return lambda history, event, said: (
        "child_ended",
        {
            "child": said.initiated_event_id,
            "ok": ok,
            "result": what(said),
            "pid": history.pid(said.workflow_execution.workflow_id),
        },
    )


def _sent(history: History, event: HistoryEvent, said: Any) -> Told:
    return "message_sent", {
        "request": event.event_id,
        "to": history.pid(said.workflow_execution.workflow_id),
        "topic": said.signal_name,
        "payload": values(said.input),
    }


def _lost(history: History, event: HistoryEvent, said: Any) -> Told:
    pid = history.pid(said.workflow_execution.workflow_id)
    request = said.initiated_event_id
    return "message_answered", {"request": request, "ok": False, "answer": start.gone(pid, None)}


def _marker(history: History, event: HistoryEvent, said: Any) -> Told:
    details = {name: value(each) for name, each in said.details.items()}
    if said.marker_name == "core_patch":
        change = details["patch-data"]["id"]
        return None if change.startswith("perdure.") else ("version", {"change": change})
    if said.marker_name != "core_local_activity":
        return said.marker_name, details
    about, answer = details["data"], details.get("result")
    if about["activity_type"] in (requests.ATTRIBUTES, requests.STATUS):
        return None
    if about["activity_type"] == requests.BEGIN:
        return "value", {"kind": "what a run begins with that has no headers", "value": None}
    ok, answer = answer or (True, None)
    if said.HasField("failure"):
        ok, answer = False, error(said.failure)
    return "answered", {"request": number_of(about["activity_id"]), "ok": ok, "answer": answer}


def _search(history: History, event: HistoryEvent, said: Any) -> Told:
    found = search_of(said.search_attributes.indexed_fields)
    return ("attributes", {"search": found, "memo": None}) if found else None


def _memo(history: History, event: HistoryEvent, said: Any) -> Told:
    return "attributes", {"search": None, "memo": memo_of(said.upserted_memo)}


def _end(kind: str, field: str, what: Callable[[Any], Any]) -> Teller:
    def tell(history: History, event: HistoryEvent, said: Any) -> Told:
        data = {field: what(said)}
        following = getattr(said, "new_execution_run_id", "")
        return kind, {**data, "next_run_id": following} if following else data

    return tell


def _continued(history: History, event: HistoryEvent, said: Any) -> Told:
    return "continued", {
        "entry": said.workflow_type.name,
        "args": values(said.input),
        "next_run_id": said.new_execution_run_id,
    }


def _canceled(said: Any) -> PerdureError:
    return error_of_details(values(said.details))


def _terminated(said: Any) -> PerdureError:
    reason = getattr(said, "reason", "")
    return PerdureError(Kind.CANCELED, "process terminated", details={"reason": reason})


def _late(said: Any) -> PerdureError:
    return PerdureError(Kind.TIMEOUT, "it did not end within its run_timeout")


Teller = Callable[[History, HistoryEvent, Any], Told]
_TELLERS: Final[dict[str, Teller]] = {
    "workflow_execution_started": _started,
    "workflow_execution_signaled": _signaled,
    "workflow_execution_cancel_requested": lambda history, event, said: (
        "cancel_requested", {"from": history.canceller, "reason": said.cause or None}
    ),
    "workflow_task_scheduled": lambda history, event, said: None,
    "workflow_task_started": lambda history, event, said: None,
    "workflow_task_completed": _step,
    "workflow_task_failed": _step_failed,
    "workflow_task_timed_out": lambda history, event, said: (
        "step_timed_out", {"begun": said.timeout_type == TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE}
    ),
    "activity_task_scheduled": _scheduled,
    "activity_task_started": _attempt,
    "activity_task_completed": _activity(
        "activity_completed", lambda said: {"result": value(said.result)}
    ),
    "activity_task_failed": _activity(
        "activity_failed", lambda said: {"error": error(said.failure)}
    ),
    "activity_task_timed_out": _activity(
        "activity_timed_out", lambda said: {"error": error(said.failure)}
    ),
    "activity_task_canceled": _activity(
        "activity_cancelled", lambda said: {"error": _canceled(said)}
    ),
    "activity_task_cancel_requested": _activity("activity_cancel_requested", lambda said: {}),
    "timer_started": _timer_started,
    "timer_fired": _timer("timer_fired"),
    "timer_canceled": _timer("timer_cancelled"),
    "start_child_workflow_execution_initiated": _child_requested,
    "child_workflow_execution_started": _child_started,
    "start_child_workflow_execution_failed": _child_refused,
    "child_workflow_execution_completed": _child_ended(True, lambda said: value(said.result)),
    "child_workflow_execution_failed": _child_ended(False, lambda said: error(said.failure)),
    "child_workflow_execution_canceled": _child_ended(False, _canceled),
    "child_workflow_execution_terminated": _child_ended(False, _terminated),
    "child_workflow_execution_timed_out": _child_ended(False, _late),
    "signal_external_workflow_execution_initiated": _sent,
    "external_workflow_execution_signaled": lambda history, event, said: (
        "message_answered", {"request": said.initiated_event_id, "ok": True, "answer": True}
    ),
    "signal_external_workflow_execution_failed": _lost,
    "marker_recorded": _marker,
    "upsert_workflow_search_attributes": _search,
    "workflow_properties_modified": _memo,
    "workflow_execution_completed": _end(
        "completed", "result", lambda said: value(said.result)
    ),
    "workflow_execution_failed": _end(
        "failed", "error", lambda said: error(said.failure)
    ),
    "workflow_execution_canceled": _end("cancelled", "error", _canceled),
    "workflow_execution_terminated": _end(
        "terminated", "error", _terminated
    ),
    "workflow_execution_timed_out": _end("timed_out", "error", _late),
    "workflow_execution_continued_as_new": _continued,
}  # fmt: skip
