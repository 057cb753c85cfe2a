"""A function that takes its node down is not tried for ever on a Temporal server either."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from temporalio.testing import ActivityEnvironment

from hosts.activity_options import ONCE, RetryPolicy
from hosts.temporal.poison import Told
from hosts.temporal.schedule import server_policy
from runtime.errors import Kind, PerdureError
from tests.both_hosts import Host
from tests.crash_lab import NodeDied, NodeProcess, effects, put_on_server, until
from tests.durable_lab import HOST, durable_app
from tests.temporal_lab import DevServer

WORKFLOWS: Final = {
    "call": """
        local target, name = ...
        -- By default a lost attempt is made again after 1 s, 2 s, 4 s …
        local once = {["activity.retry_policy"] = {maximum_attempts = 1, initial_interval = 1}}
        return funcs.new():with_options(once):call(target, name)
    """,
}
FUNCTIONS: Final = """
import os

def poison(name):
    effect(name)
    os._exit(1)
"""


@pytest.fixture
def app(tmp_path: Path, temporal_server: DevServer) -> Iterator[Path]:
    host = Host(temporal_server)
    folder = durable_app(tmp_path / "app", WORKFLOWS, FUNCTIONS, ("poison",), host=host)
    put_on_server(folder, [*host.overrides_to_kill(HOST), f"{HOST}:heartbeat_timeout=300ms"])
    yield folder
    host.check(folder)


@pytest.mark.parametrize(
    ("policy", "attempt", "details", "suspected"),
    [
        (ONCE, 1, [], False),
        (ONCE, 2, [], False),
        (ONCE, 3, [], True),
        (ONCE, 3, ["the function's"], True),
        (ONCE, 3, [None, {"harmless": 1}], False),
        (ONCE, 9, [7, {"harmless": 6, "alone": 0}], True),
        (ONCE, 9, [7, {"harmless": 7}], False),
        (ONCE, 9, [7, "foreign"], True),
        (RetryPolicy(), 9, [], False),
    ],
)
def test_what_was_lost_in_its_first_seconds_twice_is_suspected(
    policy: RetryPolicy, attempt: int, details: list[Any], suspected: bool
) -> None:
    info = replace(
        ActivityEnvironment.default_info(),
        attempt=attempt,
        heartbeat_details=details,
        retry_policy=server_policy(policy),
    )
    told = Told(info)
    assert told.suspected == suspected
    assert told.details == (details[0] if details else None)
    told.harmless()
    assert told.all == (told.details, {"harmless": attempt, "alone": 0})
    assert not Told(replace(info, attempt=attempt + 2, heartbeat_details=told.all)).suspected


def attempts(app: Path, name: str) -> list[int | None]:
    return [effect.attempt for effect in effects(app) if effect.function == name]


def ran(app: Path, name: str, times: int) -> bool:
    return len(attempts(app, name)) == times


def test_a_function_that_takes_its_node_down_is_failed_and_no_other(app: Path) -> None:
    (app / "hang-beside").touch()
    with NodeProcess(app) as node:
        beside = node.spawn("app:call", HOST, "app:effect", "beside")
        until(partial(ran, app, "beside", 1))
        poison = node.spawn("app:call", HOST, "app:poison", "p")
        node.wait_dead()
        for _ in range(4):
            with suppress(NodeDied):  # it may work before the node has said that it is ready
                node.crash()
                node.wait_dead()
        node.crash()
        with pytest.raises(PerdureError, match="app:poison took the node down 3 times") as error:
            node.result(poison)
        assert (error.value.kind, error.value.retryable) == (Kind.INTERNAL, False)
        (app / "hang-beside").unlink()
        assert node.result(beside) == "beside"
    assert len(attempts(app, "p")) == 5, "twice among others, three times alone"


def test_a_node_that_stops_in_order_was_not_taken_down(app: Path) -> None:
    """Six times, each time in the first seconds of its activity."""
    (app / "hang-long").touch()
    node = NodeProcess(app)
    pid = node.spawn("app:call", HOST, "app:effect", "long")
    for boot in range(1, 7):
        until(partial(ran, app, "long", boot))
        node.stop()
        node.crash()
    (app / "hang-long").unlink()
    with node:
        assert node.result(pid) == "long"


@pytest.mark.soak
def test_what_has_run_for_a_while_is_no_poison(app: Path) -> None:
    (app / "hang-long").touch()
    node = NodeProcess(app)
    pid = node.spawn("app:call", HOST, "app:effect", "long")
    for boot in range(1, 5):
        until(partial(ran, app, "long", boot))
        time.sleep(2.5)
        node.crash()
    (app / "hang-long").unlink()
    with node:
        assert node.result(pid) == "long"
