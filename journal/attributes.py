"""Search attributes as keys: attributes sort by name, kind and value, and their runs by number.

    name 0x00 kind value run        kind 1: false, true; 2: a number; 3: a text

A number is a double, and a text has its first `TEXT_MAX` bytes, so a range of keys may hold runs
whose values are close by: whoever reads it looks at the values in the run's row.
"""

from __future__ import annotations

import struct
from typing import Final

from journal import keys
from journal.errors import UnitError

#: What an attribute may be.
Value = str | int | float | bool

#: Bytes of a name.
NAME_MAX: Final = 128
#: Bytes of a text that the index keeps.
TEXT_MAX: Final = 256

_BOOLEAN, _NUMBER, _TEXT = b"\x01", b"\x02", b"\x03"
_DOUBLE = struct.Struct(">d")
_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1


def place(name: str, value: Value) -> bytes:
    """Where the runs with a value of an attribute begin; raises UnitError."""
    raw = name.encode()
    if not raw or len(raw) > NAME_MAX or 0 in raw:
        raise UnitError(f"attribute {name!r}: a name has 1 to {NAME_MAX} bytes, none of them 0")
    return raw + b"\0" + _value(name, value)


def key(name: str, value: Value, run: int) -> bytes:
    """The key of a run that has an attribute; raises UnitError."""
    return place(name, value) + keys.one(run)


def kind(name: str, value: Value) -> bytes:
    """Where the values of an attribute begin that are of the same kind as `value`."""
    return place(name, value)[: len(name.encode()) + 2]


def end(place: bytes) -> bytes:
    """What is above every key that begins so."""
    return place + b"\xff" * 9


def name_of(key: bytes) -> str:
    """Name of the attribute of a key."""
    return key.partition(b"\0")[0].decode()


def behind(name: str) -> bytes:
    """What is above every key of an attribute, and below those of the next."""
    return name.encode() + b"\1"


def run_of(key: bytes) -> int:
    """Number of the run of a key."""
    return int.from_bytes(key[-8:], "big")


def _value(name: str, value: Value) -> bytes:
    if isinstance(value, bool):
        return _BOOLEAN + bytes((value,))
    if isinstance(value, (int, float)):
        return _NUMBER + _number(name, value)
    if isinstance(value, str):
        # A zero byte ends the text, so one inside it must look different.
        raw = value.encode(errors="surrogatepass").replace(b"\0", b"\0\xff")
        return _TEXT + raw[:TEXT_MAX] + b"\0"
    raise UnitError(f"attribute {name}: {value!r} is no text, number or boolean")


def _number(name: str, value: float) -> bytes:
    try:
        double = float(value)
    except OverflowError:
        double = float("inf") if value > 0 else float("-inf")
    if double != double:
        raise UnitError(f"attribute {name}: nan cannot be searched for")
    bits = int.from_bytes(_DOUBLE.pack(double or 0.0), "big")
    # Negative numbers sort the other way round, and before the others.
    return (bits ^ _ALL if bits & _SIGN else bits | _SIGN).to_bytes(8, "big")
