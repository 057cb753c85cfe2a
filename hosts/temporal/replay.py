"""Replays of the server's histories on the code of now, by the SDK's replayer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from hosts.temporal.core import core
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
    """Replay runs of a worker in a VM of their own; nothing of them is performed. Steps block the
    event loop, for as long as they take: the SDK's limit for a step would be one of wall clock, and
    on a busy machine a run that fits would be told to differ.

    Returns how many there were, and by workflow id what those that cannot be replayed did
    otherwise.
    """
    vm = parts.vms.all[0].fresh(f"{parts.host_id} {NAME}")
    count, differ = 0, {}
    replayer = Replayer(
        workflows=[Run],
        namespace=namespace,
        data_converter=CONVERTER,
        interceptors=[HeaderInterceptor(), PartsInterceptor(replace(parts, vms=RunVms([vm])))],
        workflow_runner=RunRunner(),
        build_id=BUILD,
        runtime=core(),
        debug_mode=True,  # no limit
    )
    async with replayer.workflow_replay_iterator(histories) as results:
        async for result in results:
            count += 1
            if result.replay_failure is not None:
                differ[result.history.workflow_id] = str(result.replay_failure)
    return count, differ
