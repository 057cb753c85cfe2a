"""Large payloads: out of line, under the hash of their content, each stored once.

A history page is read and checked as a whole, and LMDB wants one free stretch of pages for a value;
so bytes longer than `INLINE_MAX` leave their record, which keeps a reference: an extension of
MessagePack with their SHA-256 and length. They are stored in chunks that fill 16 pages of 4 KiB.

Which runs hold which payloads is indexed both ways. A payload goes with the last run that holds it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any, Final

from msgpack import ExtType

#: Longer bytes in a record are stored out of line.
INLINE_MAX: Final = 4096
#: Bytes of a chunk: 16 pages less the headers of page, value and MessagePack.
CHUNK: Final = 65536 - 16 - 6 - 3

_EXTENSION: Final = 1
_REFERENCE = struct.Struct(">32sQ")
_INDEX = struct.Struct(">I")


def take_out(value: Any, taken: dict[bytes, bytes]) -> Any:
    """`value` with a reference for each large payload in it, which `taken` gets by its digest."""
    kind = type(value)
    if kind is bytes:
        if len(value) <= INLINE_MAX:
            return value
        digest = sha256(value).digest()
        taken[digest] = value
        return ExtType(_EXTENSION, _REFERENCE.pack(digest, len(value)))
    if kind is list or kind is tuple:
        return [take_out(item, taken) for item in value]
    if kind is dict:
        return {key: take_out(item, taken) for key, item in value.items()}
    return value


def references(value: Any) -> Iterator[tuple[bytes, int]]:
    """Digest and length of each payload that a decoded value refers to."""
    if isinstance(value, ExtType):
        yield _REFERENCE.unpack(value.data)
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from references(item)


def put_back(fetch: Callable[[bytes, int], bytes]) -> Callable[[int, bytes], Any]:
    """The `ext_hook` that gives each reference its payload; `fetch` gets digest and length."""

    def hook(code: int, data: bytes) -> bytes:
        if code != _EXTENSION:
            raise ValueError(f"extension {code} is not known")
        return fetch(*_REFERENCE.unpack(data))

    return hook


def chunks(digest: bytes, payload: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Key and content of each chunk of a payload."""
    for index, key in enumerate(chunk_keys(digest, len(payload))):
        yield key, payload[index * CHUNK : (index + 1) * CHUNK]


def chunk_keys(digest: bytes, length: int) -> Sequence[bytes]:
    """Keys of the chunks of a payload of `length` bytes."""
    return [digest + _INDEX.pack(index) for index in range((length + CHUNK - 1) // CHUNK)]
