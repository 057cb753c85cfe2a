"""Values as JSON can carry them, and times as people and programs read them."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from runtime.errors import PerdureError


def plain(value: Any) -> Any:
    """`value` in JSON's types.

    Bytes that are not text become ``{"base64": "…"}``, errors a map of what they say, NaN and
    infinities their name, and keys text, as JSON has no others.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, PerdureError):
        return error_fields(value)
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value)


def error_fields(error: PerdureError) -> dict[str, Any]:
    """An error as a map; `error_of` makes it one again."""
    return {
        "kind": error.kind,
        "message": error.message,
        "retryable": error.retryable,
        "details": plain(error.details),
        "context": error.context,
        "trace": error.trace,
    }


def error_of(fields: Mapping[str, Any]) -> PerdureError:
    """The error that `error_fields` described."""
    return PerdureError(
        fields["kind"],
        fields["message"],
        fields.get("retryable"),
        fields.get("details"),
        context=fields.get("context", ""),
        trace=fields.get("trace", ""),
    )


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return key.decode(errors="backslashreplace") if isinstance(key, bytes) else str(key)
