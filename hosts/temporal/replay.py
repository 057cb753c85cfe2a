"""Replays of the server's histories on the code of now, by the SDK's replayer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from hosts.temporal.connection import TemporalClient
from hosts.temporal.headers import HeaderInterceptor
from hosts.temporal.parts import Parts
from hosts.temporal.payloads import CONVERTER
from hosts.temporal.vms import RunVm, RunVms
from hosts.temporal.workflow import PartsInterceptor, Run


async def replayed(
    connection: TemporalClient, parts: Parts, vm: RunVm, query: str
) -> tuple[int, dict[str, str]]:
    """Replay the runs that a query of the server finds; nothing of them is performed.

    Args:
        vm: in which they are replayed.

    Returns how many there were, and by workflow id what those that cannot be replayed did
    otherwise.
    """
    client, count, differ = connection.opened(), 0, {}
    with ThreadPoolExecutor(1) as executor:
        replayer = Replayer(
            workflows=[Run],
            namespace=connection.namespace,
            data_converter=CONVERTER,
            interceptors=[
                HeaderInterceptor(),
                PartsInterceptor(replace(parts, vms=RunVms([vm]))),
            ],
            workflow_runner=UnsandboxedWorkflowRunner(),
            workflow_task_executor=executor,
        )
        histories = client.list_workflows(query).map_histories()
        async with replayer.workflow_replay_iterator(histories) as results:
            async for result in results:
                count += 1
                if result.replay_failure is not None:
                    differ[result.history.workflow_id] = str(result.replay_failure)
    return count, differ
