"""The runner of our workers: a run that fails with an error of kind CANCELED ends as cancelled.

The server has the status Canceled for that, with details, and neither tries such a run again nor
goes on with its schedule. The SDK ends a run so only after a request to cancel it, and leaves out
the details, so its command is rewritten on its way to the server.

The SDK gives a run the signals of an activation before a request to cancel it, which it drops when
one of them ends the run: the run can ask whether there is one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_commands import CancelWorkflowExecution, WorkflowCommand
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    WorkflowInstance,
    WorkflowInstanceDetails,
)

from runtime.errors import Kind

#: The function that tells a run whether the activation that it is in has a request to cancel it.
CANCELS: Final = "perdure_cancels"


class RunRunner(UnsandboxedWorkflowRunner):
    """Without the SDK's sandbox: Lua is ours."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        cancels = False
        known = {**det.extern_functions, CANCELS: lambda: cancels}
        instance = super().create_instance(replace(det, extern_functions=known))
        activate = instance.activate

        def activated(act: WorkflowActivation) -> WorkflowActivationCompletion:
            nonlocal cancels
            cancels = any(job.HasField("cancel_workflow") for job in act.jobs)
            completion = activate(act)
            for command in completion.successful.commands:
                end_as_cancelled(command)
            return completion

        instance.activate = activated  # type: ignore[method-assign]
        instance.get_serialization_context = _no_context  # type: ignore[assignment, method-assign]
        return instance


def _no_context(command: object) -> None:
    """Our converters ask for none. The SDK would make one for each payload, six times."""


def end_as_cancelled(command: WorkflowCommand) -> None:
    """Rewrite the failure of a run, where it is of kind CANCELED."""
    if not command.HasField("fail_workflow_execution"):
        return
    failed = command.fail_workflow_execution.failure.application_failure_info
    if failed.type == Kind.CANCELED:
        end = CancelWorkflowExecution()
        end.details.CopyFrom(failed.details)
        command.cancel_workflow_execution.CopyFrom(end)
