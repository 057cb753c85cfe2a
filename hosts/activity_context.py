"""What an activity is told of itself, beside what its run hands on."""

from __future__ import annotations

from typing import Any

import msgpack

from runtime.codec import decode, encode


def activity_context(
    context: bytes | None,
    key: str,
    attempt: int,
    details: bytes | None = None,
    own_id: str | None = None,
) -> bytes:
    """The context of an attempt: what the run handed on, and what the function is told of
    itself: `activity.key`, `activity.attempt`, and where there are such `activity.id` and
    `activity.heartbeat`, the details of the last heartbeat of earlier attempts."""
    values: dict[str, Any] = {"activity.attempt": attempt, "activity.key": key}
    if context is None and details is None and own_id is None:
        # Canonical as it stands, the keys being in order; encode() would take ten times as long.
        return bytes(msgpack.packb(values))
    if details is not None:
        values["activity.heartbeat"] = decode(details)
    if own_id is not None:
        values["activity.id"] = own_id
    inherited = None if context is None else decode(context)
    return encode({**inherited, **values} if isinstance(inherited, dict) else values)
