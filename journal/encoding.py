"""Values on disk: format byte, schema version, CRC-32, MessagePack.

    0       1        2..5                  6..
    format  schema   crc32(body, then key)  body

The checksum covers the key too, so that a value that surfaces under another key is found. The body
comes first in it because the key of a history page is only known once the writer numbers it.
LMDB itself has no checksums.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Final
from zlib import crc32

from msgpack import ExtType, Packer, unpackb

from journal.databases import DATABASES, Database
from journal.errors import BadRecordError, UnitError

FORMAT: Final = 1
SCHEMA: Final = 1
#: Bytes in front of the body.
OVERHEAD: Final = 6

_HEADER = bytes((FORMAT, SCHEMA))
_NIL = b"\xc0"
_NIL_CRC = crc32(_NIL)


#: A packer keeps what its largest value took; one with more than this is not kept.
_KEPT: Final = 1 << 20


class _Packing(threading.local):
    """A packer for each thread: to make one takes longer than to pack a record."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.pack: Callable[[Any], bytes] = Packer().pack


_packing = _Packing()


def pack(value: Any) -> bytes:
    """MessagePack of `value`; raises UnitError when it holds what MessagePack cannot carry."""
    try:
        body = _packing.pack(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnitError(f"cannot write {_short(value)}: {error}") from error
    if len(body) > _KEPT:
        _packing.renew()
    return body


def seal(key: bytes, body: bytes, body_crc: int) -> bytes:
    """The value for `key`, of a packed body and the CRC-32 of that body."""
    return _HEADER + crc32(key, body_crc).to_bytes(4, "big") + body


def mark(key: bytes) -> bytes:
    """What `encode` gives for `key` and None, for rows of which only the key says something."""
    return _HEADER + crc32(key, _NIL_CRC).to_bytes(4, "big") + _NIL


def encode(key: bytes, value: Any) -> bytes:
    """The value for `key`; raises UnitError as `pack` does."""
    body = pack(value)
    return _HEADER + crc32(key, crc32(body)).to_bytes(4, "big") + body


def decode(
    db: int, key: bytes, data: bytes, extension: Callable[[int, bytes], Any] = ExtType
) -> Any:
    """What `encode` was given; raises BadRecordError when format or checksum are not right.

    Args:
        extension: makes what an extension of MessagePack stands for.
    """
    return decode_in(DATABASES[db], key, data, extension)


def decode_in(
    database: Database, key: bytes, data: bytes, extension: Callable[[int, bytes], Any] = ExtType
) -> Any:
    """The same for a database that is none of a journal."""
    body = data[OVERHEAD:]
    if data[:OVERHEAD] != _HEADER + crc32(key, crc32(body)).to_bytes(4, "big") or not body:
        if data[:2] != _HEADER or not body:
            raise _bad(database, key, f"starts with {data[:2].hex()}, not {_HEADER.hex()}")
        raise _bad(database, key, "its checksum does not match")
    try:
        return unpackb(body, strict_map_key=False, ext_hook=extension)
    except (TypeError, ValueError) as error:
        raise _bad(database, key, f"cannot be unpacked: {error}") from error


def has_text(texts: Iterable[str]) -> Callable[[bytes], bool]:
    """Whether one of some texts stands in what `encode` gave, or something that looks the same."""
    packer = Packer(unicode_errors="surrogatepass")
    packed = [packer.pack(text) for text in texts]
    return lambda data: any(each in data for each in packed)


def _bad(database: Database, key: bytes, problem: str) -> BadRecordError:
    return BadRecordError(database.name, key, database.run(key), problem)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
