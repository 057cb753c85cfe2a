"""The one workflow that a worker has: whatever the type of a run, it is stepped by `Execution`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from temporalio import worker, workflow
from temporalio.common import RawValue

from hosts.temporal.execution import Execution
from hosts.temporal.parts import Parts

_PARTS: Final = "perdure_parts"


class PartsInterceptor(worker.Interceptor):
    """Gives the runs of a worker what they share: the SDK makes them, from a class of its own."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def workflow_interceptor_class(self, input: worker.WorkflowInterceptorClassInput) -> None:
        input.unsafe_extern_functions[_PARTS] = lambda: self._parts


@workflow.defn(dynamic=True)
class Run:
    """A run of any workflow."""

    def __init__(self) -> None:
        self._execution = Execution(workflow.extern_functions()[_PARTS]())

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> Any:
        return await self._execution.run(args)

    @workflow.signal(dynamic=True)
    def signalled(self, name: str, args: Sequence[RawValue]) -> None:
        """Never called: the interceptor, which knows the headers, calls `take_signal`."""

    def take_signal(self, name: str, args: Sequence[RawValue], sender: str, key: str) -> None:
        """A signal with the PID of its sender and its idempotency key, "" for none."""
        self._execution.take_signal(name, args, sender, key)
