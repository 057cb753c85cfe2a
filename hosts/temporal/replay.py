"""Replays of the server's histories on the code of now, by the SDK's replayer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from hosts.temporal.headers import HeaderInterceptor
from hosts.temporal.parts import Parts
from hosts.temporal.payloads import CONVERTER
from hosts.temporal.runner import RunRunner
from hosts.temporal.vms import RunVms
from hosts.temporal.worker_options import BUILD
from hosts.temporal.workflow import PartsInterceptor, Run

#: What is last in the name of a VM that replays.
NAME: Final = "replay VM"


async def replayed(
    histories: AsyncIterator[WorkflowHistory], namespace: str, parts: Parts
) -> tuple[int, dict[str, str]]:
    """Replay runs of a worker in a VM of their own; nothing of them is performed.

    Returns how many there were, and by workflow id what those that cannot be replayed did
    otherwise.
    """
    vm = parts.vms.all[0].fresh(f"{parts.host_id} {NAME}")
    count, differ = 0, {}
    with ThreadPoolExecutor(1) as executor:
        replayer = Replayer(
            workflows=[Run],
            namespace=namespace,
            data_converter=CONVERTER,
            interceptors=[
                HeaderInterceptor(),
                PartsInterceptor(replace(parts, vms=RunVms([vm]))),
            ],
            workflow_runner=RunRunner(),
            workflow_task_executor=executor,
            build_id=BUILD,
        )
        async with replayer.workflow_replay_iterator(histories) as results:
            async for result in results:
                count += 1
                if result.replay_failure is not None:
                    differ[result.history.workflow_id] = str(result.replay_failure)
    return count, differ
