"""The event by which a process learns how a workflow ended."""

from __future__ import annotations

from runtime.codec import decode, encode


def exit_event(pid: str, at: int, ok: bool, value: bytes, linked: bool = False) -> bytes:
    """EXIT, or LINK_DOWN where a link breaks: when the end is an error.

    Args:
        pid: of the workflow.
        at: ns since the epoch.
        value: its encoded result, or error.
    """
    result = {"value" if ok else "error": decode(value)}
    kind = "pid.link.down" if linked and not ok else "pid.exit"
    return encode({"kind": kind, "from": pid, "at": at, "result": result})
