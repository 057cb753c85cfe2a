"""A history reads as a timeline: every record in words, with the time of its step."""

from __future__ import annotations

from typing import Any

import pytest

from hosts.durable import records
from hosts.durable.execution import BEGIN
from hosts.durable.moments import moments
from hosts.durable.records import Record
from journal.records import RECORD_TYPES
from runtime.clock import timestamp
from runtime.codec import encode, encode_args
from runtime.errors import Kind, PerdureError
from supervision.control.plain import error_fields, error_of, plain
from supervision.control.timeline import timeline

SECOND = 1_000_000_000
BEGAN = 1_700_000_000 * SECOND
ERROR = encode(PerdureError(Kind.NOT_FOUND, "no such order"))
STARTED: dict[str, Any] = {
    "entry": "app:order",
    "args": encode_args([{"id": 7}]),
    "context": None,
    "messages": [],
    "parent": "",
    "seed": b"\0" * 32,
    "source": b"\xab" * 32,
    "machine": 1,
    "info": {"run_id": "r"},
}

WORDS: list[tuple[Record, str]] = [
    (["started", STARTED], 'started app:order({"id": 7})'),
    (["started", STARTED | {"parent": "{h|p}"}], 'started app:order({"id": 7}) by {h|p}'),
    (["started_again", "k-1"], 'was asked for again, key "k-1"'),
    (["migrated", bytes(32)], "moved to the source 0000000000000000"),
    (["message", "go", "", encode_args([1, "x"])], 'message "go": 1, "x"'),
    (["message", "go", "{h|1}", encode_args([]), "key:1"], 'message "go" from {h|1}'),
    (["step", BEGAN, 1, 1], "step: took 1 input"),
    (["step", BEGAN, 2, 1], "step: took 2 inputs"),
    (
        ["activity_scheduled", 1, "app:charge", encode_args([5]), None, None],
        "activity 1: app:charge(5)",
    ),
    (["activity_attempt", 1, 2], "activity 1: attempt 2"),
    (["activity_completed", 1, encode("ok")], 'activity 1 gave: "ok"'),
    (["activity_failed", 1, ERROR], "activity 1 failed: NotFound: no such order"),
    (["activity_timed_out", 1, ERROR], "activity 1 timed out: NotFound: no such order"),
    (["activity_cancelled", 1, ERROR], "activity 1 was cancelled: NotFound: no such order"),
    (["activity_cancel_requested", 1], "cancels activity 1"),
    (["timer_started", 2, 36 * 3600 * SECOND], "timer 2: 1.5d"),
    (["timer_started", 2, SECOND // 4], "timer 2: 0.25s"),
    (["timer_fired", 2], "timer 2 fired"),
    (["timer_cancelled", 2], "timer 2 cancelled"),
    (["timer_fired", BEGIN], "its time to begin has come"),
    (
        ["started", STARTED | {"begins": BEGAN, "deadline": BEGAN + 60 * SECOND}],
        'started app:order({"id": 7}), to begin at 2023-11-14T22:13:20.000000+00:00, '
        "to end by 2023-11-14T22:14:20.000000+00:00",
    ),
    (["completed", encode(1), 9, "r9"], "the run completed: 1; run r9 follows"),
    (["failed", ERROR, 9, "r9"], "the run failed: NotFound: no such order; run r9 follows"),
    (["timed_out", ERROR], "the run timed out: NotFound: no such order"),
    (
        ["continued", "app:order", encode_args([2]), 9, "r9"],
        "the run goes on as app:order(2); run r9 follows",
    ),
    (
        ["attributes", encode({"customer": "c-7"}), encode({"note": [1]})],
        'set search {"customer": "c-7"}; memo {"note": [1]}',
    ),
    (["attributes", encode({"total": 5}), None], 'set search {"total": 5}'),
    (["child_close", 99, "terminate", "{h|kid}", 1, 4], "child 4: terminate it, as this run ends"),
    (
        ["message_sent", 3, "{h|1}", "hello", encode_args([True])],
        'message 3: "hello" to {h|1}: true',
    ),
    (["message_answered", 3, True, encode(True)], "message 3 was answered: true"),
    (["message_answered", 3, False, ERROR], "message 3 was refused: NotFound: no such order"),
    (
        ["child_requested", 4, "app:kid", "app:h", encode_args([]), 0, None, None, None, []],
        "child 4: app:kid() on app:h",
    ),
    (["child_started", 4, True, encode("{h|k}")], "child 4 started as {h|k}"),
    (["child_started", 4, False, ERROR], "child 4 did not start: NotFound: no such order"),
    (["child_ended", 4, True, encode(9), "{h|k}", False, BEGAN], "child 4 ended with 9"),
    (
        ["child_ended", 4, False, ERROR, "{h|k}", False, BEGAN],
        "child 4 failed: NotFound: no such order",
    ),
    (["control_sent", 5, "cancel", "{h|1}", "late"], "request 5: cancel {h|1}: late"),
    (["name_requested", 6, "register", "me", None], 'request 6: register the name "me"'),
    (["asked", 6, "env", "get", encode_args(["PORT"])], 'request 6: env get ["PORT"]'),
    (["answered", 6, True, encode(True)], "request 6 was answered: true"),
    (["event", encode({"kind": "pid.exit"})], 'event {"kind": "pid.exit"}'),
    (["cancel_requested", "{h|1}", "enough"], "asked to end from {h|1}: enough"),
    (["cancel_requested", "", None], "asked to end"),
    (["value", "uuid", encode("u")], 'drew uuid: "u"'),
    (["completed", encode(None)], "the run completed: null"),
    (["failed", ERROR], "the run failed: NotFound: no such order"),
    (["cancelled", ERROR], "the run was cancelled: NotFound: no such order"),
    (["terminated", ERROR], "the run was terminated: NotFound: no such order"),
    (["of_a_newer_version", 1, "x"], 'field1 1, field2 "x"'),
    (["completed", b"\xc1damaged"], 'the run completed: {"base64": "wWRhbWFnZWQ="}'),
]


@pytest.mark.parametrize(("record", "words"), WORDS)
def test_a_record_in_words(record: Record, words: str) -> None:
    (row,) = timeline(moments([(1, record)], BEGAN, 0))
    assert row["text"] == words
    plain(row)


def test_every_type_of_record_has_words() -> None:
    told = {record[0] for record, _ in WORDS}
    written = {*records.COMMAND_RECORDS.values(), *RECORD_TYPES}
    # Versions are written as values.
    assert written - told == {"version"}


def test_inputs_have_the_time_of_the_step_that_took_them() -> None:
    history: list[Record] = [
        ["started", STARTED],
        ["step", BEGAN + 1000, 1, 1],
        ["activity_scheduled", 1, "app:charge", encode_args([]), None, None],
        ["activity_attempt", 1, 2],
        ["message", "a", "", encode_args([])],
        ["activity_completed", 1, encode(1)],
        ["step", BEGAN + 2000, 1, 1],
        ["timer_started", 2, 5],
        ["terminated", ERROR],
    ]
    rows = timeline(moments(list(enumerate(history, 1)), BEGAN, BEGAN + 9000))
    assert [row["at"] and int(row["at"][-12:-6]) for row in rows] == [
        0, 1, 1, None, 2, None, 2, 2, 9
    ]  # fmt: skip
    assert rows[5]["text"] == "activity 1 (app:charge) gave: 1"


def test_values_and_errors_survive_json() -> None:
    error = PerdureError(
        Kind.CONFLICT, "m", True, {"a": [1]}, context="while paying", trace="stack"
    )
    again = error_of(error_fields(error))
    assert again == error
    assert again.trace == "stack"
    assert plain({1: b"\xff", False: float("inf"), b"k": (error,)}) == {
        "1": {"base64": "/w=="},
        "false": "inf",
        "k": [error_fields(error)],
    }


def test_times_are_iso_in_utc() -> None:
    assert timestamp(BEGAN + 1_234_000) == "2023-11-14T22:13:20.001234+00:00"
    assert timestamp(0) is timestamp(None) is None
