"""Parcels, for those who have to look into one: it is for no VM, or its VM was lost.

The records are those of prelude/parcel.lua: a byte for the kind, then texts and bytes with their
length in four bytes and numbers in eight, all little-endian.
"""

from __future__ import annotations

import struct
from typing import Final

from runtime import inputs
from runtime.codec import encode
from runtime.inputs import Input

_MESSAGE: Final = 1
_TAKEN: Final = 2
_TRUE: Final = encode(True)


class _Reader:
    def __init__(self, records: bytes) -> None:
        self._records = records
        self._at = 0

    def number(self, layout: str) -> int:
        (value,) = struct.unpack_from(layout, self._records, self._at)
        self._at += struct.calcsize(layout)
        return int(value)

    def data(self) -> bytes:
        size = self.number("<I")
        self._at += size
        return self._records[self._at - size : self._at]

    def text(self) -> str:
        return self.data().decode(errors="surrogateescape")


def unpacked(size: int, records: bytes) -> list[Input]:
    """The inputs that a parcel stands for, one by one."""
    read = _Reader(records)
    found = []
    for _ in range(size):
        kind, pid = read.number("<B"), read.text()
        if kind == _MESSAGE:
            topic, sender, args, seq = read.text(), read.text(), read.data(), read.number("<Q")
            found.append(inputs.message(pid, topic, sender, args, (sender, seq)))
        else:
            seq = read.number("<Q")
            ok = kind == _TAKEN
            found.append(inputs.answer(pid, seq, ok, _TRUE if ok else read.data()))
    return found
