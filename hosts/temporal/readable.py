"""What the server keeps of a run, as values for a reader: nothing of it is too foreign to show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Memo, Payload, Payloads
from temporalio.api.failure.v1 import Failure

from hosts.temporal.failures import error_of
from hosts.temporal.payloads import CONVERTER, value_of
from runtime.errors import PerdureError

#: Search attributes that the server sets by itself begin so.
_SERVERS_OWN: Final = ("Temporal", "BuildIds", "BinaryChecksums", "Batcher")

#: In a memo.
_OURS: Final = "perdure-"


def readable(payload: Payload) -> Any:
    """The value of a payload; its bytes where they are encoded as nobody here knows."""
    try:
        return value_of(payload)
    except Exception:  # a foreign or damaged value is shown as it is, and hides none of the others
        return payload.data


def values(payloads: Payloads) -> list[Any]:
    """Several values, such as arguments."""
    return [readable(each) for each in payloads.payloads]


def value(payloads: Payloads) -> Any:
    """One value, such as a result; None without one."""
    return next(iter(values(payloads)), None)


def header(headers: Mapping[str, Payload], name: str) -> Any:
    """The value of a header, None without it."""
    return readable(headers[name]) if name in headers else None


def memo_of(memo: Memo) -> dict[str, Any]:
    """A memo, without what we keep there."""
    return {
        name: readable(each) for name, each in memo.fields.items() if not name.startswith(_OURS)
    }


def search_of(fields: Mapping[str, Payload]) -> dict[str, Any]:
    """Search attributes, without those of the server."""
    return {
        name: readable(each)
        for name, each in fields.items()
        if not name.startswith(_SERVERS_OWN) and each.data != b"null"
    }


def error(failure: Failure) -> PerdureError:
    """What a failure says, as an error of ours."""
    return error_of(CONVERTER.failure_converter.from_failure(failure, CONVERTER.payload_converter))


def ns_of(at: Timestamp) -> int:
    """A time as ns since the epoch, 0 for none."""
    return max(0, at.ToNanoseconds())


def number_of(text: str) -> int | str:
    """A number that the server keeps as text, where it is one."""
    return int(text) if text.isdecimal() else text
