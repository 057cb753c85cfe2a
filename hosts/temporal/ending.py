"""How a run ends: with a result, with a failure, or by going on as new."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final, NoReturn

from temporalio import workflow
from temporalio.common import RawValue

from hosts import effects
from hosts.temporal import headers as h
from hosts.temporal import start
from hosts.temporal.failures import failure
from hosts.temporal.payloads import check_together, raw, raw_args
from runtime import commands as c
from runtime.codec import decode, encode
from runtime.errors import PerdureError

if TYPE_CHECKING:
    from hosts.temporal.execution import Execution

#: How many keys of messages a run that goes on as new takes along.
_KEYS: Final = 1_000


def outcome(run: Execution, end: c.Ended | c.Upgrade) -> RawValue:
    """The result of a run. Raises the failure that it ended with, or what makes it go on as new."""
    if isinstance(end, c.Upgrade):
        _go_on(run, end)
    if end.ok:
        return raw(end.value)
    error: PerdureError = decode(end.value)
    if run.parts.deployed.option(run.info.workflow_type, "on_error") == "suspend":
        # The server tries the task again and again: code that does better gets the same inputs.
        raise RuntimeError(effects.explain(error))
    if not workflow.unsafe.is_replaying():
        run.parts.log_failure(c.Ended(run.pid, False, end.value, run.info.workflow_type))
    raise failure(error)


def _go_on(run: Execution, command: c.Upgrade) -> NoReturn:
    """The run goes on as new, with what it has not read."""
    seed = hmac.digest(run.seed, b"next", "sha256")
    context = run.given.get(h.CONTEXT)
    headers = start.start_headers(
        run.parts,
        command.entry,
        None if context is None else encode(context),
        run.given.get(h.PARENT, ""),
        [*command.messages, *run.late_messages()],
        seed,
    )
    headers |= h.headers_of(
        {h.CHILDREN: run.children.open or None, h.KEYS: run.keys[-_KEYS:] or None}
    )
    args = raw_args(command.args)
    try:
        check_together(f"what goes on with {command.entry}", args, headers)
    except PerdureError as error:
        raise failure(error, final=True) from None
    with h.sending(headers):
        workflow.continue_as_new(workflow=command.entry, args=args)
