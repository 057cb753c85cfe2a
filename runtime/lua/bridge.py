"""The Python functions that the prelude calls (prelude/bridge.lua), and what keeps them harmless.

What a Python function raises would reach Lua as a Python object, which hands user code the whole
interpreter; and a result that does not fit into the VM would end the interpreter, since nothing
protects the push of a result. So each function answers (True, results…) or (False, kind, message),
and answers without a memory limit, which bridge.lua puts back.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from runtime.errors import Kind, PerdureError


def guarded(function: Callable[..., Any], lift_limit: Callable[[], None]) -> Callable[..., Any]:
    """A function as bridge.lua expects it.

    Args:
        function: gets bytes, numbers, booleans and None; returns such, or a tuple of them.
        lift_limit: takes the memory limit off the VM.
    """

    def answer(*args: Any) -> tuple[Any, ...]:
        lift_limit()
        try:
            result = function(*args)
        except PerdureError as error:
            return False, error.kind.encode(), error.message.encode(errors="replace")
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            return False, Kind.INTERNAL.encode(), text.encode(errors="replace")
        return (True, *result) if isinstance(result, tuple) else (True, result)

    return answer


def zone_offset(name: bytes, seconds: int) -> tuple[int, bytes] | None:
    """Offset from UTC in seconds and abbreviation of a zone at a Unix time; None if unknown."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(name.decode()))
    except (ZoneInfoNotFoundError, ValueError, OverflowError, OSError):
        return None
    offset = moment.utcoffset()
    assert offset is not None
    return int(offset.total_seconds()), (moment.tzname() or "").encode()


def digest(name: bytes, data: bytes) -> bytes:
    """A digest of hashlib, by its name there."""
    function: Callable[[bytes], Any] = getattr(hashlib, name.decode())
    return bytes(function(data).digest())


#: By the names that they have in the prelude's shared table.
FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "entropy": os.urandom,
    "zone_offset": zone_offset,
    "digest": digest,
}
