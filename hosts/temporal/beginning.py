"""How a run begins: its code, its seed, and what it starts with, as its headers have it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING

from temporalio import workflow
from temporalio.common import RawValue

from hosts.sources import is_bundle
from hosts.temporal import headers as h
from hosts.temporal import requests, start
from hosts.temporal.core import StepFailed
from hosts.temporal.failures import failure
from hosts.temporal.payloads import encoded_args
from runtime import inputs
from runtime.codec import encode, encode_args
from runtime.errors import Kind, PerdureError
from runtime.inputs import Input, StartOptions
from runtime.lua.machine import MACHINE_VERSION

if TYPE_CHECKING:
    from hosts.temporal.execution import Execution


class Beginning:
    """Of one run."""

    def __init__(self, execution: Execution) -> None:
        self._run = execution
        self._machine = execution.given.get(h.MACHINE, MACHINE_VERSION)

    async def first(self, args: Sequence[RawValue]) -> Input:
        """The first input of the run, when its time to begin has come; sets the run's seed, too.

        Raises the failure of a run that cannot begin.
        """
        run = self._run
        definition = await self._definition()
        delay = run.given.get(h.DELAY)
        if delay and run.info.attempt == 1:
            await run.sleep(delay / 1e9)
        try:
            begun = inputs.start(run.pid, definition, encoded_args(args), self._options())
            if run.info.attempt == 1:
                run.children.inherit(run.given.get(h.CHILDREN, ()))
        except PerdureError as error:
            raise failure(error, final=True) from None
        return begun

    async def _definition(self) -> str:
        """What the machine is to run the run as.

        A run that a foreign client started has neither source nor seed in its headers: it takes
        what is deployed when it begins, and its history keeps both.
        """
        run, parts = self._run, self._run.parts
        entry = run.info.workflow_type
        source, seed = run.given.get(h.SOURCE), run.given.get(h.SEED)
        if seed is None:
            if not workflow.unsafe.is_replaying():
                self._check_deployed()
            begun = workflow.start_local_activity(
                requests.BEGIN, args=[entry], result_type=list, **requests.TIMES
            )
            await run.until(begun)
            seed, self._machine, source = begun.result()
        run.seed = hmac.digest(seed, run.info.original_execution_run_id.encode(), "sha256")
        if source is None or parts.is_latest(entry):
            self._check_deployed()
            return entry
        try:
            blob = start.source_of(source)
        except PerdureError as error:
            raise failure(error, final=True) from None
        deployed = parts.bundle(entry)
        if deployed is not None and deployed.blob == blob:
            return entry
        if not is_bundle(blob, entry):
            text = f"the header {h.SOURCE} holds no source of {entry}: start the run again"
            raise failure(PerdureError(Kind.INVALID, text, False), final=True)
        return run.vm.pin(entry, blob, hashlib.sha256(blob).digest())

    def _check_deployed(self) -> None:
        entry = self._run.info.workflow_type
        if self._run.parts.kind_of(entry) != "workflow.lua":
            raise StepFailed(f"{entry} is no workflow.lua that this worker knows")

    def _options(self) -> StartOptions:
        run, info = self._run, self._run.info
        options: StartOptions = {
            "durable": True,
            "derived": True,
            "machine": self._machine,
            "seed": run.seed,
            "parent": run.given.get(h.PARENT, ""),
            "info": {
                "workflow_id": info.workflow_id,
                "run_id": info.run_id,
                "workflow_type": info.workflow_type,
                "task_queue": info.task_queue.removeprefix(run.parts.prefix),
                "namespace": info.namespace,
                "attempt": info.attempt,
                "host": run.parts.host_id,
            },
        }
        context = run.given.get(h.CONTEXT)
        if context:
            options["context"] = encode(context)
        messages = run.given.get(h.MESSAGES)
        if messages:
            options["messages"] = [
                (topic, encode_args(values), sender) for topic, values, sender in messages
            ]
        return options
