"""Values and errors at the border to Temporal: JSON for others to read, and nothing lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.exceptions import TimeoutError as ServerTimeout

from hosts.temporal import unread
from hosts.temporal.failures import error_of, failure
from hosts.temporal.payloads import encoded, payload_of, raw, value_of
from hosts.temporal.unread import Unread
from runtime import inputs
from runtime.codec import decode, encode, encode_args
from runtime.errors import Kind, PerdureError

PLAIN: list[Any] = [
    1, -(2**63), 1.5, 1.0, True, "text ü", [], [1, [2.0]], {"a": {"b": [True, "x"]}}, "",
]  # fmt: skip
OTHERS: list[Any] = [
    {1: "a", 2.5: "b"}, float("inf"), [b"\xff\x00"], {"e": PerdureError("Conflict", "no")},
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_are_json_that_others_read(value: Any) -> None:
    payload = raw(encode(value)).payload
    assert payload.metadata["encoding"] == b"json/plain"
    assert json.loads(payload.data) == value
    back = decode(encoded(RawValue(payload)))
    assert (back, type(back)) == (value, type(value))


@pytest.mark.parametrize("value", OTHERS, ids=repr)
def test_what_json_has_no_word_for_comes_back_the_same(value: Any) -> None:
    payload = payload_of(value)
    assert payload.metadata["encoding"] == b"binary/perdure"
    assert encode(value_of(payload)) == encode(value)


def test_nothing_and_bytes_are_those_of_every_client() -> None:
    assert payload_of(None).metadata["encoding"] == b"binary/null"
    assert payload_of(b"\xff").metadata["encoding"] == b"binary/plain"
    assert (value_of(payload_of(None)), value_of(payload_of(b"\xff"))) == (None, b"\xff")
    with pytest.raises(PerdureError, match="encoding"):
        value_of(Payload(metadata={"encoding": b"binary/encrypted"}))


def test_errors_keep_what_they_are() -> None:
    error = PerdureError(
        "Conflict", "no", True, {"a": [1]}, context="while at it", trace="app.lua:3"
    )
    sent = failure(error)
    back = error_of(sent)
    assert (back, back.trace) == (error, error.trace)
    assert (sent.type, sent.message, sent.non_retryable) == ("Conflict", "no", False)
    assert error_of(failure(error, left=b"unread")) == error
    assert failure(PerdureError("", "x", False)).non_retryable
    assert error_of(failure(PerdureError("", "x"))).kind == ""


def test_foreign_failures_become_errors_by_what_they_say() -> None:
    foreign = error_of(ApplicationError("no", {"x": 1}, type="ValueError", non_retryable=True))
    said = (foreign.kind, foreign.message, foreign.retryable, foreign.details)
    assert said == (Kind.INTERNAL, "ValueError: no", False, {"x": 1})
    assert error_of(ApplicationError("no", type="Conflict")).kind == Kind.CONFLICT
    late = error_of(ServerTimeout("late", type=None, last_heartbeat_details=[]))
    assert (late.kind, late.message) == (Kind.TIMEOUT, "late")


#: What a run has not received, as the machine tells it: an event is a message that nobody can send.
EVENT = {"kind": "pid.cancel", "from": "", "at": 5}
MESSAGES = [
    ("log", encode_args([1, "x" * 200]), "{app:orders|a}"),
    ("@event", encode_args([EVENT]), ""),
    ("l\udcff", encode_args([]), ""),
]
LATE = [
    inputs.message("p", "late", "", encode_args([2])),
    inputs.answer("p", 5, True, b""),
    inputs.control("p", "cancel", "", None),
]
WRITTEN = [
    ["message", "", "log", "{app:orders|a}", encode_args([1, "x" * 200])],
    ["signal", "", encode(EVENT)],
    ["message", "", "l\udcff", "", encode_args([])],
    ["message", "p", "late", "", encode_args([2])],
    ["control", "p", "cancel", "", None],
]


@pytest.mark.parametrize(
    ("room", "items", "keys"),
    [(2000, 5, 2), (400, 2, 2), (370, 1, 2), (330, 0, 2), (125, 0, 2), (40, 0, 0)],
)
def test_what_a_run_leaves_is_written_within_its_room(room: int, items: int, keys: int) -> None:
    left = Unread.of("run", MESSAGES, LATE, ["k" * 10, "l"])
    assert left.items == WRITTEN
    part = left.within(room)
    assert (part.items, len(part.keys)) == (WRITTEN[:items], keys)
    assert len(part.written()) <= room
    assert unread.read(part.written()) == (part if items or keys else None)
