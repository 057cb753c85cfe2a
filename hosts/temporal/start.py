"""How a run is started, from outside or as a child: what its request becomes."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy

from hosts.attributes import memo_of
from hosts.start_options import StartOptions
from hosts.temporal import headers as h
from hosts.temporal.attributes import Fitted, typed
from hosts.temporal.parts import Parts
from hosts.temporal.payloads import check_names, check_size
from hosts.temporal.schedule import server_policy, span
from hosts.temporal.visibility import STATUSES
from runtime.codec import decode
from runtime.errors import Kind, PerdureError
from runtime.ids import check_name
from runtime.lua.machine import MACHINE_VERSION

_REUSE: Final = {
    "allow_duplicate": WorkflowIDReusePolicy.ALLOW_DUPLICATE,
    "allow_duplicate_failed_only": WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
    "reject_duplicate": WorkflowIDReusePolicy.REJECT_DUPLICATE,
}


#: Bytes that a source in a header may have: above that it is none of ours.
SOURCE_LIMIT: Final = 16 * 1024 * 1024

#: No second run under a workflow id, whatever became of the first.
REJECT: Final = WorkflowIDReusePolicy.REJECT_DUPLICATE


def start_headers(
    parts: Parts,
    entry: str,
    context: bytes | None,
    parent: str,
    messages: Sequence[Sequence[Any]],
    seed: bytes | None = None,
    delay: int = 0,
    host: str | None = None,
) -> dict[str, Payload]:
    """The headers of a new run.

    Args:
        messages: topic, encoded arguments and, unless it is the parent, sender of each.
        seed: 32 bytes; by default new ones.
        delay: ns that the run itself waits before it begins.
        host: worker that its PID names; None for the one that runs it.
    """
    bundle = parts.bundle(entry)
    listed = [[each[0], decode(each[1]), each[2] if len(each) > 2 else parent] for each in messages]
    return h.headers_of(
        {
            h.CONTEXT: None if context is None else decode(context),
            h.PARENT: parent or None,
            h.MESSAGES: listed or None,
            h.SOURCE: None if bundle is None else zlib.compress(bundle.blob),
            h.SEED: seed or os.urandom(32),
            h.MACHINE: MACHINE_VERSION,
            h.DELAY: delay or None,
            h.HOST: host,
        }
    )


def check_id(workflow_id: str, options: StartOptions) -> None:
    """Raise PerdureError INVALID for a workflow id, or task queue, that cannot be one here."""
    check_name(workflow_id, "workflow id")
    check_names(workflow_id=workflow_id, task_queue=options.task_queue)


def check_sizes(
    entry: str,
    args: bytes,
    context: bytes | None,
    messages: Sequence[Sequence[Any]],
    extra: Mapping[str, Any] | None,
) -> None:
    """Raise PerdureError INVALID for a start of which a part is too large for the server."""
    check_size(f"the arguments of {entry}", args)
    check_size(f"the context of {entry}", context)
    for each in messages:
        check_size(f"the message {each[0]}", each[1])
    check_size(f"the memo of {entry}", (extra or {}).get("memo"))


def source_of(compressed: bytes) -> bytes:
    """The source in a header. Raises PerdureError INVALID when it is none."""
    expanding = zlib.decompressobj()
    try:
        blob = expanding.decompress(compressed, SOURCE_LIMIT)
    except zlib.error as error:
        text = f"the header {h.SOURCE} is damaged: {error}: start the run again"
        raise PerdureError(Kind.INVALID, text, False) from None
    if not expanding.eof:
        text = (
            f"the header {h.SOURCE} is cut off, or its source has more than {SOURCE_LIMIT} bytes: "
            "start the run again, with smaller libraries"
        )
        raise PerdureError(Kind.INVALID, text, False)
    return blob


def rules(options: StartOptions, search: Fitted, task_timeout: int) -> dict[str, Any]:
    """The arguments of a start, of a child's too, that its options stand for; with a task timeout
    (ns) for those that have none."""
    given = options.rules
    retry = given.retry
    return {
        "execution_timeout": span(options.execution_timeout),
        "run_timeout": span(given.run_timeout),
        "task_timeout": span(given.task_timeout or task_timeout),
        # One attempt is what the server makes of none.
        "retry_policy": None
        if retry is None or retry.maximum_attempts == 1
        else server_policy(retry),
        "cron_schedule": given.cron or "",
        "id_reuse_policy": _REUSE[options.reuse],
        "memo": memo_of(options.extra) or None,
        "search_attributes": typed(search),
    }


def search_of(extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """The search attributes among what a start gives."""
    found: dict[str, Any] = (extra or {}).get("search") or {}
    return found


def status_word(status: WorkflowExecutionStatus | None) -> str:
    """How the last run of a workflow stands, None when there is none: "running", "completed" …"""
    if status is None:
        return "gone"
    return "running" if status == WorkflowExecutionStatus.RUNNING else STATUSES[status]


def gone(pid: str, status: WorkflowExecutionStatus | None) -> PerdureError:
    """Why a workflow cannot be reached, whose last run stands so; None when there is none."""
    text = f"process not found: {pid}"
    if status is not None:
        text += f" has ended ({STATUSES[status]})"
    return PerdureError(Kind.NOT_FOUND, text)


def exists(pid: str, workflow_id: str, status: str) -> PerdureError:
    """The refusal of a start; `status` is "running", or how the run of before has ended."""
    text = (
        f"workflow {workflow_id} is running"
        if status == "running"
        else f"workflow {workflow_id} has run before ({status})"
    )
    return PerdureError(Kind.ALREADY_EXISTS, text, details={"pid": pid})
