"""Values as payloads: JSON where a value is plain, so that others can read them, else our codec.

Values travel through the runtime encoded (`runtime.codec`); these functions turn them into
payloads and back. A payload of a foreign client or worker may be JSON of any kind, bytes or null.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.converter import (
    BinaryNullPayloadConverter,
    BinaryPlainPayloadConverter,
    CompositePayloadConverter,
    DataConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
)

from runtime.codec import decode, decode_args, encode, encode_args
from runtime.errors import Kind, PerdureError

#: Bytes of one payload that a server takes (its `limit.blobSize.error`).
LIMIT: Final = 2 * 1024 * 1024
OVER_LIMIT: Final = (
    f"the payload limit of the Temporal server, {LIMIT}: keep it elsewhere and pass on where"
)


def is_plain(value: Any) -> bool:
    """Whether JSON gives back the very same value."""
    kind = type(value)
    if value is None or kind in (str, bool, int):
        return True
    if kind is float:
        return math.isfinite(value)
    if kind is list:
        return all(map(is_plain, value))
    if kind is dict:
        return all(type(key) is str for key in value) and all(map(is_plain, value.values()))
    return False


class _Encoded(EncodingPayloadConverter):
    """What JSON has no word for: errors, bytes, keys that are no texts, NaN."""

    @property
    def encoding(self) -> str:
        return "binary/perdure"

    def to_payload(self, value: Any) -> Payload | None:
        if is_plain(value):
            return None
        return Payload(metadata={"encoding": self.encoding.encode()}, data=encode(value))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        return decode(payload.data)


class Payloads(CompositePayloadConverter):
    """The payload converter of our clients and workers."""

    def __init__(self) -> None:
        super().__init__(
            BinaryNullPayloadConverter(),
            BinaryPlainPayloadConverter(),
            _Encoded(),
            JSONPlainPayloadConverter(),
        )


CONVERTER: Final = DataConverter(payload_converter_class=Payloads)
_PAYLOADS: Final = Payloads()


def payload_of(value: Any) -> Payload:
    """A plain value as a payload."""
    return _PAYLOADS.to_payloads([value])[0]


def value_of(payload: Payload) -> Any:
    """The value of a payload. Raises PerdureError INVALID for an encoding that is not known."""
    encoding = payload.metadata.get("encoding", b"").decode(errors="replace")
    known = "json/plain" if encoding.startswith("json/") else encoding
    try:
        converter = _PAYLOADS.converters[known.encode()]
    except KeyError:
        text = f'a payload has the encoding "{encoding}", which is not read here: send JSON'
        raise PerdureError(Kind.INVALID, text) from None
    return converter.from_payload(payload)


def raw(data: bytes) -> RawValue:
    """An encoded value as a payload."""
    return RawValue(payload_of(decode(data)))


def encoded(value: RawValue) -> bytes:
    """The encoded value of a payload; errors as for `value_of` and `runtime.codec.encode`."""
    return encode(value_of(value.payload))


def raw_args(args: bytes) -> list[RawValue]:
    """Encoded arguments as payloads, one each."""
    return [RawValue(payload_of(each)) for each in decode_args(args)]


def encoded_args(values: Sequence[RawValue]) -> bytes:
    """The encoded arguments of payloads; errors as for `encoded`."""
    return encode_args(value_of(each.payload) for each in values)


def check_size(what: str, values: Sequence[RawValue]) -> None:
    """Raise PerdureError INVALID for payloads that the server would refuse."""
    size = sum(len(each.payload.data) for each in values)
    if size > LIMIT:
        text = f"{what}: {size} bytes are more than {OVER_LIMIT}"
        raise PerdureError(Kind.INVALID, text, False)
