"""Keys: fixed-width and big-endian, so that LMDB's byte order is the order of the numbers.

Texts (workflow ids, idempotency keys, names) are keys as they are up to `TEXT_MAX` bytes; longer
ones become their first bytes and their SHA-256. LMDB takes keys of 1 to 511 bytes.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Final

from journal.errors import UnitError

#: LMDB's limit of 511 less a SHA-256: a longer key is always 511 bytes, so never a short one's.
TEXT_MAX: Final = 479
#: The largest number a key can hold.
NUMBER_MAX: Final = 2**64 - 1
#: Above every key: LMDB takes no longer one.
END: Final = b"\xff" * 511

_ONE = struct.Struct(">Q")
_TWO = struct.Struct(">QQ")
_THREE = struct.Struct(">QQQ")
_BY_LENGTH: Final = {each.size: each for each in (_ONE, _TWO, _THREE)}


def one(run: int) -> bytes:
    """Key of a run."""
    try:
        return _ONE.pack(run)
    except struct.error as error:
        raise _out_of_range((run,)) from error


def two(first: int, second: int) -> bytes:
    """Key of (run, seq) or (time, run)."""
    try:
        return _TWO.pack(first, second)
    except struct.error as error:
        raise _out_of_range((first, second)) from error


def three(due_ns: int, run: int, seq: int) -> bytes:
    """Key of a timer."""
    try:
        return _THREE.pack(due_ns, run, seq)
    except struct.error as error:
        raise _out_of_range((due_ns, run, seq)) from error


def numbers(key: bytes) -> tuple[int, ...]:
    """The numbers of a key made by `one`, `two` or `three`."""
    return _BY_LENGTH.get(len(key), _TWO).unpack(key)


def second(key: bytes) -> int:
    """The second number of a key made by `two`."""
    return int.from_bytes(key[8:], "big")


def text(value: str | bytes) -> bytes:
    """Key of a text; compare the full text in the value when `is_hashed`."""
    try:
        raw = value.encode() if isinstance(value, str) else bytes(value)
    except UnicodeEncodeError as error:
        raise UnitError(f"key {value!r} is not valid Unicode: {error}") from error
    if not raw:
        raise UnitError("a workflow id, idempotency key or name may not be empty")
    if len(raw) <= TEXT_MAX:
        return raw
    return raw[:TEXT_MAX] + sha256(raw).digest()


def is_hashed(key: bytes) -> bool:
    """True when a key of `text` holds a hash in place of the end of the text."""
    return len(key) > TEXT_MAX


def _out_of_range(values: tuple[object, ...]) -> UnitError:
    return UnitError(f"key {values!r}: each part is an integer from 0 to 2**64 - 1")
