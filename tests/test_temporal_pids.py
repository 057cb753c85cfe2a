"""A run has the PID that its start gave, whichever worker runs it on a Temporal server: who started
it, itself and those that it writes to agree on it, and it is reached by that on its node, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from supervision.node import Node
from tests.process_lab import PATIENCE, process, write_app
from tests.temporal_lab import DevServer, on_server
from tests.test_temporal_replay import workflow

#: Workers of two nodes; those of one run nothing on the other, which need not even know of them.
HERE: Final = ("near", "beside")
THERE: Final = ("far",)

#: Starts a child, talks to it, hears its end: what it is told, and what everybody calls the child.
STARTS: Final = """
    local host, queue = ...
    local told = assert(process.with_options({["workflow.task_queue"] = queue})
      :spawn_monitored("app:child", host))
    assert(process.send(told, "call me"))
    local m = process.inbox():receive()
    local own = m:payload():data()
    assert(process.send(own, "well"))
    local event = process.events():receive()
    return {told, own, m:from(), event.from, event.result.value}
"""

ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "journal": {"kind": "journal.lmdb", "path": "j"},
    "parent": workflow(STARTS),
    "starter": process(STARTS),
    "child": workflow("""
        local m = process.inbox():receive()
        assert(process.send(m:from(), "own", process.pid()))
        process.inbox():receive()
        assert(process.spawn("app:echo", "app:one", process.pid()))
        return process.inbox():receive():from() ~= nil and workflow.info().task_queue
    """),
    "echo": process("""
        assert(process.monitor(...))
        assert(process.send((...), "echo"))
    """),
}  # fmt: skip


def node_with(
    folder: Path, overrides: list[str], up: tuple[str, ...], known: tuple[str, ...]
) -> Node:
    workers = {
        name: {
            "kind": "temporal.worker",
            "client": "app:journal",
            "task_queue": f"queue-{name}",
            "workers": 1,
            "lifecycle": {"auto_start": name in up},
        }
        for name in known
    }
    return Node.from_path(write_app(folder, {**ENTRIES, **workers}), overrides)


@pytest.fixture(scope="module", params=["one application", "two applications"])
def node(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    temporal_server: DevServer,
) -> Iterator[Node]:
    """The one with the workers of `HERE`; the other one runs beside it."""
    folder, overrides = tmp_path_factory.mktemp("pids"), on_server(temporal_server, "app:journal")
    every = HERE + THERE if request.param == "one application" else ()
    with ExitStack() as stack:
        stack.enter_context(node_with(folder / "there", overrides, THERE, every or THERE))
        yield stack.enter_context(node_with(folder / "here", overrides, HERE, every or HERE))


RUN: Final = ("app:parent", "app:near")
PROCESS: Final = ("app:starter", "app:one")


@pytest.mark.parametrize(
    ("starter", "host", "queue", "runs_on"),
    [
        *(
            (starter, *place)
            for starter in (RUN, PROCESS)
            for place in (
                ("app:near", None, "near"),
                ("app:beside", None, "beside"),
                ("queue-beside", None, "beside"),
                ("app:near", "queue-beside", "beside"),
            )
        ),
        # What runs on another node reaches runs of this one, no processes.
        (RUN, "app:near", "queue-far", "far"),
    ],
)
def test_a_run_has_the_pid_that_who_starts_it_is_told(
    node: Node, starter: tuple[str, str], host: str, queue: str | None, runs_on: str
) -> None:
    told, *known_as, ran = node.result(node.spawn(*starter, host, queue), PATIENCE)
    assert known_as == [told] * 3
    assert ran == f"queue-{runs_on}"
