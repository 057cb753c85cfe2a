"""Values as payloads: JSON where a value is plain, so that others can read them, else our codec.

Values travel through the runtime encoded (`runtime.codec`); these functions turn them into
payloads and back. A payload of a foreign client or worker may be JSON of any kind, bytes or null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final, Self

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.converter import (
    BinaryNullPayloadConverter,
    BinaryPlainPayloadConverter,
    DataConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
    JSONProtoPayloadConverter,
    PayloadConverter,
    SerializationContext,
)

from runtime.codec import decode, decode_args, encode, encode_args
from runtime.errors import Kind, PerdureError

#: Bytes of what goes with one command. A server takes 2 MiB (its `limit.blobSize.error`), of which
#: this leaves a part for what is around the values; it is the default of a journal, too.
LIMIT: Final = 2_000_000
OVER_LIMIT: Final = (
    f"the payload limit of the Temporal server, {LIMIT}: keep it elsewhere and pass on where"
)
#: Bytes of payloads in one request to a server, which takes 4 MiB with what is around them.
ROOM: Final = 4_000_000
#: Bytes of an id or name that a server takes (its limit.maxIDLength), less a prefix.
_LONGEST_NAME: Final = 900
#: Bytes of JSON that may be however much longer than our codec.
_SHORT: Final = 100_000


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


class _Json(JSONPlainPayloadConverter):
    """Values for which JSON has words, and not far more bytes than our codec."""

    def to_payload(self, value: Any) -> Payload | None:
        if not is_plain(value):
            return None
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        data = text.encode()
        if len(data) > _SHORT and len(data) > min(2 * len(encode(value)), LIMIT):
            return None
        return Payload(metadata={"encoding": self.encoding.encode()}, data=data)


class _Encoded(EncodingPayloadConverter):
    """What JSON has no word for: errors, bytes, keys that are no texts, NaN; and what is too long
    in it."""

    @property
    def encoding(self) -> str:
        return "binary/perdure"

    def to_payload(self, value: Any) -> Payload | None:
        return Payload(metadata={"encoding": self.encoding.encode()}, data=encode(value))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        return decode(payload.data)


_ENCODED: Final = _Encoded()
_MADE: Final = (
    BinaryNullPayloadConverter(),
    BinaryPlainPayloadConverter(),
    JSONProtoPayloadConverter(),  # what the SDK itself answers to queries
    _Json(),
    _ENCODED,
)
#: By encoding, in the order in which they are asked.
_CONVERTERS: Final = {each.encoding.encode(): each for each in _MADE}


class Payloads(PayloadConverter):
    """The payload converter of our clients and workers. The SDK makes two for each step."""

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        return [each.payload if isinstance(each, RawValue) else payload_of(each) for each in values]

    def from_payloads(
        self, payloads: Sequence[Payload], type_hints: list[type] | None = None
    ) -> list[Any]:
        return [
            RawValue(payload) if hint is RawValue else value_of(payload)
            for payload, hint in zip_longest(payloads, type_hints or ())
        ]


class _Converter(DataConverter):
    """A value is the same payload wherever it goes: the SDK looks at each part of a converter to
    find that out, several times for each payload."""

    def with_context(self, context: SerializationContext) -> Self:
        return self


CONVERTER: Final = _Converter(payload_converter_class=Payloads)


def payload_of(value: Any) -> Payload:
    """A plain value as a payload."""
    made = (each.to_payload(value) for each in _MADE)
    return next(payload for payload in made if payload is not None)


def value_of(payload: Payload) -> Any:
    """The value of a payload. Raises PerdureError INVALID for one that cannot be read."""
    encoding = payload.metadata.get("encoding", b"").decode(errors="replace")
    known = "json/plain" if encoding.startswith("json/") else encoding
    try:
        converter = _CONVERTERS[known.encode()]
    except KeyError:
        text = f'a payload has the encoding "{encoding}", which is not read here: send JSON'
        raise PerdureError(Kind.INVALID, text) from None
    try:
        return converter.from_payload(payload)
    except (ValueError, RuntimeError) as error:
        text = f'a payload is not what its encoding "{encoding}" says: {error.__cause__ or error}'
        raise PerdureError(Kind.INVALID, text) from None


def raw(data: bytes) -> RawValue:
    """An encoded value as a payload."""
    return RawValue(payload_of(decode(data)))


def encoded(value: RawValue) -> bytes:
    """The encoded value of a payload; errors as for `value_of` and `runtime.codec.encode`."""
    return encode(value_of(value.payload))


def raw_args(args: bytes) -> list[RawValue]:
    """Encoded arguments as payloads, one each."""
    values = decode_args(args)
    made = [payload_of(each) for each in values]
    if len(args) > _SHORT // 6 and sum(len(each.data) for each in made) > LIMIT:
        made = [payload for value in values if (payload := _ENCODED.to_payload(value)) is not None]
    return [RawValue(each) for each in made]


def encoded_args(values: Sequence[RawValue]) -> bytes:
    """The encoded arguments of payloads; errors as for `encoded`."""
    return encode_args(value_of(each.payload) for each in values)


def encoded_message(values: Sequence[RawValue]) -> bytes:
    """The encoded arguments of a message; in place of one that cannot be read stands an error, as
    who has sent it does not wait for an answer."""
    return encode_args(map(_read, values))


def _read(value: RawValue) -> Any:
    try:
        return decode(encoded(value))
    except PerdureError as error:
        return error


def bound(data: bytes) -> int:
    """Bytes of the payloads, at most, that an encoded value, or encoded arguments, become."""
    return max(2 * len(data), min(6 * len(data), _SHORT))


def check_size(what: str, data: bytes | None) -> None:
    """Raise PerdureError INVALID for an encoded value that the server would refuse."""
    size = 0 if data is None else len(data)
    if size > LIMIT:
        text = f"{what}: {size} bytes are more than {OVER_LIMIT}"
        raise PerdureError(Kind.INVALID, text, False)


def check_names(**names: str | None) -> None:
    """Raise PerdureError INVALID for a name that is too long for the server."""
    for what, name in names.items():
        if name is not None and len(name.encode()) > _LONGEST_NAME:
            text = f'{what.replace("_", " ")} "{name[:20]}…" has more than {_LONGEST_NAME} bytes'
            raise PerdureError(Kind.INVALID, text, False)


def check_together(what: str, values: Sequence[RawValue], headers: Mapping[str, Payload]) -> None:
    """Raise PerdureError INVALID for arguments and headers that are too large for one request."""
    size = sum(len(each.payload.data) for each in values)
    size += sum(len(each.data) for each in headers.values())
    if size > ROOM:
        text = (
            f"{what}, with context, messages and source: {size} bytes are more than what a request "
            f"to the Temporal server may have, {ROOM}: keep it elsewhere and pass on where"
        )
        raise PerdureError(Kind.INVALID, text, False)
