"""What we use of temporalio that it does not promise is there in the version that is installed."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from temporalio.bridge.worker import Worker as Core
from temporalio.worker import Worker

from hosts.temporal.vms import InMemory
from hosts.temporal.worker import _evicted


def test_a_worker_keeps_the_core_that_evicts_runs() -> None:
    assert list(inspect.signature(Core.request_workflow_eviction).parameters) == ["self", "run_id"]
    assert "self._bridge_worker =" in inspect.getsource(Worker)


def test_without_it_runs_stay_in_memory_and_the_log_tells(
    caplog: pytest.LogCaptureFixture,
) -> None:
    other: Any = object()
    asyncio.run(_evicted(other, [InMemory(each, "app:flow", bool) for each in ("one", "two")]))
    (said,) = caplog.messages
    assert said.startswith("this temporalio cannot evict runs: 2 stay in memory")
