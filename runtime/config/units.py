"""Durations and sizes as they are written in YAML."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

#: Nanoseconds of each unit: those of Go, and days and weeks.
DURATION_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
    "d": 24 * 3600 * 1_000_000_000,
    "w": 7 * 24 * 3600 * 1_000_000_000,
}

#: Bytes of each unit: KB is 1000 bytes, KiB is 1024, as SI and IEC have it.
SIZE_UNITS: Final = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}

#: What Lua's integers and the journal hold; in nanoseconds 292 years.
LARGEST: Final = 2**63 - 1

_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([a-zµ]+)")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)")


def parse_duration(text: str) -> int:
    """Nanoseconds of "10s", "1h30m", "1.5h", "500ms", "7d"; below one they are cut off.

    Raises ValueError, whose text says why, for anything else: a bare number has no unit.
    """
    total = Fraction(0)
    position = 0
    while part := _PART.match(text, position):
        number, unit = part.groups()
        if unit not in DURATION_UNITS:
            raise ValueError(f'"{unit}" is not a unit of time')
        total += _exact(number) * DURATION_UNITS[unit]
        position = part.end()
    if not text or position < len(text):
        raise ValueError(f'"{text}" is not a duration')
    return _bounded(total, text)


def parse_size(text: str) -> int:
    """Bytes of "256MB", "64KB", "1GiB", "1.5GB".

    Raises ValueError, whose text says why, for anything else: a bare number has no unit.
    """
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError(f'"{text}" is not a size')
    number, unit = found.groups()
    if unit not in SIZE_UNITS:
        raise ValueError(f'"{unit}" is not a unit of size')
    return _bounded(_exact(number) * SIZE_UNITS[unit], text)


def _exact(number: str) -> Fraction:
    return Fraction(number.rstrip("."))


def _bounded(amount: Fraction, text: str) -> int:
    if amount > LARGEST:
        raise ValueError(f'"{text}" is too large')
    return int(amount)
