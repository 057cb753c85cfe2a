"""Replays every history that tests leave on a Temporal server, by the SDK's replayer.

Each run is replayed with what the node has deployed, in this process, which stepped it last. A run
that only other processes have stepped is a failure, too, until a node of this one has replayed it
(`TemporalWorker.replay`): then it is with the sources of that node.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from google.protobuf.duration_pb2 import Duration
from temporalio import workflow
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from hosts.temporal.execution import Execution
from hosts.temporal.parts import Parts
from hosts.temporal.replay import NAME, replayed
from runtime.commands import Command


class Run(NamedTuple):
    """A run at a server."""

    namespace: str
    workflow_id: str
    run_id: str


#: What the node has that stepped a run last, and whether that was more than a replay.
stepped: dict[Run, tuple[Parts, bool]] = {}
_replayed: set[Run] = set()
#: Namespaces by the server's address that nobody has looked at.
_new: defaultdict[str, list[str]] = defaultdict(list)
_sound_init, _sound_step = Execution.__init__, Execution._step


def _init(self: Execution, parts: Parts) -> None:
    _sound_init(self, parts)
    _note(self, live=False)


def _step(self: Execution) -> list[Command]:
    _note(self, live=not (workflow.unsafe.is_replaying() or self.vm.name.endswith(NAME)))
    return _sound_step(self)


def _note(run: Execution, *, live: bool) -> None:
    key = Run(run.info.namespace, run.info.workflow_id, run.info.run_id)
    if live or key not in stepped.keys() | _replayed:
        stepped[key] = run.parts, live


def watch() -> None:
    """Note, from now on, which node steps which run."""
    for name, noting in (("__init__", _init), ("_step", _step)):
        setattr(Execution, name, noting)


async def new_namespace(address: str) -> str:
    """A namespace of a server, which the next look looks at once."""
    client, name = await Client.connect(address), f"test-{uuid.uuid4()}"
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(
            namespace=name, workflow_execution_retention_period=Duration(seconds=86_400)
        )
    )
    _new[address].append(name)
    return name


async def misfits(address: str) -> dict[str, str]:
    """What is wrong with the histories that a server has and had not at the last look, by workflow
    id: how the replay differs."""
    wrong: dict[str, str] = {}
    for namespace in ("default", *_new.pop(address, ())):
        wrong |= await _misfits_in(await Client.connect(address, namespace=namespace))
    return wrong


async def _misfits_in(client: Client) -> dict[str, str]:
    wrong: dict[str, str] = {}
    nodes: defaultdict[int, list[Run]] = defaultdict(list)
    for run in list(stepped):
        if run.namespace == client.namespace:
            nodes[id(stepped[run][0])].append(run)
    for runs in nodes.values():
        parts = stepped[runs[0]][0]
        wrong |= (await replayed(_fetched(client, runs), client.namespace, parts))[1]
    async for told in client.list_workflows():
        run = Run(client.namespace, told.id, told.run_id or "")
        if run not in _replayed:
            _replayed.add(run)
            if await _was_stepped(client, run):
                wrong[run.workflow_id] = "no node of this process has stepped or replayed it"
    return wrong


async def _fetched(client: Client, runs: Sequence[Run]) -> AsyncIterator[WorkflowHistory]:
    """The histories of those of the runs that this server has."""
    for run in runs:
        handle = client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
        try:
            history = await handle.fetch_history()
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            continue
        del stepped[run]
        _replayed.add(run)
        yield history


async def _was_stepped(client: Client, run: Run) -> bool:
    history = await client.get_workflow_handle(run.workflow_id, run_id=run.run_id).fetch_history()
    return any(
        event.HasField("workflow_task_completed_event_attributes") for event in history.events
    )
