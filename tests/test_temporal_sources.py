"""Which code a run on Temporal runs on: pinned, latest, and started by a foreign client."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import CancelledError

from hosts.temporal.headers import SEED, SOURCE, HeaderInterceptor, headers_of, sending
from hosts.temporal.start import SOURCE_LIMIT
from hosts.temporal.worker import TemporalWorker
from runtime.errors import Kind, PerdureError
from supervision.control import workflows as operations
from supervision.node import Node
from tests.process_lab import PATIENCE, write_app
from tests.temporal_lab import DevServer, on_server

T = TypeVar("T")
MODULES = ["funcs", "workflow", "uuid"]
WAIT = "local m = process.inbox():receive() "


def entries(source: str, **fields: Any) -> dict[str, dict[str, Any]]:
    return {
        "journal": {"kind": "journal.lmdb", "path": "j"},
        "worker": {"kind": "temporal.worker", "client": "app:journal", "workers": 1,
                   "worker_options": {"sticky_schedule_to_start_timeout": "1s"}},
        "lib": {"kind": "library.lua", "source": f"return {{text = '{fields.pop('lib', 'old')}'}}"},
        "flow": {"kind": "workflow.lua", "source": source, "modules": MODULES,
                 "imports": {"lib": "app:lib"}, **fields},
        "one_more": {"kind": "function.lua", "source": "return (...) + 1"},
    }  # fmt: skip


def result_on(app: Path, overrides: list[str], pid: str, *, send: bool = True) -> Any:
    """What a run gives on a new node with the code of now."""
    with Node.from_path(app, overrides) as node:
        if send:
            node.send(pid, "go", 5)
        result = node.result(pid, PATIENCE)
        worker = node.service("app:worker")
        assert isinstance(worker, TemporalWorker)
        assert worker.replay() == (1, {})
    return result


def foreign(server: DevServer, work: Callable[[Client], Awaitable[T]]) -> T:
    """Something that a client does which knows nothing of us."""

    async def connected() -> T:
        return await work(await Client.connect(server.address))

    return asyncio.run(connected())


async def first_step(workflow_id: str, client: Client) -> None:
    """Come back when a run has taken its first step."""
    events = client.get_workflow_handle(workflow_id).fetch_history_events(wait_new_event=True)
    async for event in events:
        if event.HasField("workflow_task_completed_event_attributes"):
            return


def begun(node: Node, server: DevServer) -> str:
    """PID of a run that has taken its first step."""
    pid = node.spawn("app:flow", "app:worker")
    foreign(server, partial(first_step, pid.partition("|")[2][:-1]))
    return pid


def test_a_pinned_run_ends_on_the_source_it_began_on(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    overrides = on_server(temporal_server, "app:journal")
    app = write_app(tmp_path, entries(WAIT + "return {'one', require('lib').text}"))
    with Node.from_path(app, overrides) as node:
        pid = begun(node, temporal_server)
    write_app(tmp_path, entries("return 'two'", lib="new"))
    assert result_on(app, overrides, pid) == ["one", "old"]


BEFORE = WAIT + "return {'before', (funcs.call('app:one_more', m:payload():data()))}"
AFTER = """
    local version = workflow.version("step", 1, 2)
    local m = process.inbox():receive()
    local n = m:payload():data()
    if version == 2 then n = funcs.call("app:one_more", n) end
    return {"after", version, (funcs.call("app:one_more", n))}
"""


def test_a_latest_run_takes_new_code_and_version_bridges(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    overrides = on_server(temporal_server, "app:journal")
    app = write_app(tmp_path, entries(BEFORE, versioning="latest"))
    with Node.from_path(app, overrides) as node:
        old = begun(node, temporal_server)
    write_app(tmp_path, entries(AFTER, versioning="latest"))
    assert result_on(app, overrides, old) == ["after", 1, 6]
    with Node.from_path(app, on_server(temporal_server, "app:journal")) as node:
        new = node.spawn("app:flow", "app:worker")
        node.send(new, "go", 5)
        assert node.result(new, PATIENCE) == ["after", 2, 7]
        worker = node.service("app:worker")
        assert isinstance(worker, TemporalWorker)
        assert worker.replay() == (1, {})


@pytest.mark.soak
def test_many_latest_runs_at_work_take_new_code_and_lose_nothing(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    source = """
        local sum = 0
        for i = 1, 15 do
          sum = funcs.call("app:one_more", sum)
          uuid.v4()
        end
        return sum .. " code 0"
    """
    overrides = on_server(temporal_server, "app:journal")
    with Node.from_path(write_app(tmp_path, entries(source, versioning="latest")), overrides) as n:
        pids = [n.spawn("app:flow", "app:worker") for _ in range(20)]
        for number in range(1, 5):
            foreign(temporal_server, partial(first_step, pids[number].partition("|")[2][:-1]))
            changes = n.registry.changes()
            data = {
                **n.registry.get("app:flow").written,
                "source": source.replace('0"', f'{number}"'),
            }
            changes.update({"id": "app:flow", "data": data})
            n.registry.apply(changes)
        assert {n.result(pid, PATIENCE) for pid in pids} == {"15 code 4"}
        types = {each["type"] for pid in pids for each in operations.history(n, pid)}
        assert "step_failed" not in types


def test_code_that_does_not_fit_leaves_the_run_until_code_that_does(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    overrides = on_server(temporal_server, "app:journal")
    fitting = "funcs.call('app:one_more', 1) " + WAIT + "return 'fits'"
    app = write_app(tmp_path, entries(fitting, versioning="latest"))
    with Node.from_path(app, overrides) as node:
        pid = begun(node, temporal_server)
        other = node.spawn("app:flow", "app:worker")
        node.send(other, "go")
        assert node.result(other, PATIENCE) == "fits"
    write_app(tmp_path, entries(WAIT + "return 'other'", versioning="latest"))
    with Node.from_path(app, overrides) as node:
        worker = node.service("app:worker")
        assert isinstance(worker, TemporalWorker)
        count, differ = worker.replay()
        assert count == 2
        assert "ondeterminism" in "".join(differ.values())
        assert node.call("app:one_more", 1, timeout=PATIENCE) == 2
    write_app(tmp_path, entries(fitting, versioning="latest"))
    with Node.from_path(app, overrides) as node:
        node.send(pid, "go")
        assert node.result(pid, PATIENCE) == "fits"


def test_a_run_of_a_foreign_client_takes_what_is_deployed_and_keeps_it(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    overrides = on_server(temporal_server, "app:journal")
    queue = overrides[2].partition("=")[2] + "app:worker"
    source = "local a, b = ... " + WAIT + "return {sum = a.n + b, got = m:payload():data()}"
    app = write_app(tmp_path, entries(source))

    async def begin(client: Client) -> None:
        await client.start_workflow("app:flow", args=[{"n": 1}, 2], id="foreign", task_queue=queue)

    async def go_on(client: Client) -> Any:
        handle = client.get_workflow_handle("foreign")
        await handle.signal("go", {"by": ["hand"]})
        return await handle.result()

    with Node.from_path(app, overrides) as node:
        foreign(temporal_server, begin)
        pid = "{app:worker|foreign}"
        node.send(pid, "go", {"by": ["us"]})
        assert node.result(pid, PATIENCE) == {"sum": 3, "got": {"by": ["us"]}}
        foreign(temporal_server, begin)
        foreign(temporal_server, partial(first_step, "foreign"))
    write_app(tmp_path, entries("return 'two'"))
    with Node.from_path(app, overrides):
        assert foreign(temporal_server, go_on) == {"sum": 3, "got": {"by": ["hand"]}}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (zlib.compress(bytes(SOURCE_LIMIT + 1)), "more than 16777216 bytes"),
        (zlib.compress(b"return 1")[:-3], "is cut off"),
        (b"no source", "is damaged"),
    ],
)
def test_a_run_whose_source_header_is_none_fails_with_a_clear_error(
    tmp_path: Path, temporal_server: DevServer, source: bytes, said: str
) -> None:
    overrides = on_server(temporal_server, "app:journal")
    queue = overrides[2].partition("=")[2] + "app:worker"

    async def begin() -> None:
        given = headers_of({SOURCE: source, SEED: bytes(32)})
        client = await Client.connect(temporal_server.address, interceptors=[HeaderInterceptor()])
        with sending(given):
            await client.start_workflow("app:flow", id=queue, task_queue=queue)

    with Node.from_path(write_app(tmp_path, entries("return 1")), overrides) as node:
        asyncio.run(begin())
        with pytest.raises(PerdureError, match=said) as failed:
            node.result(f"{{app:worker|{queue}}}", PATIENCE)
    assert failed.value.kind == Kind.INVALID


def test_a_cron_schedule_is_that_of_the_server(tmp_path: Path, temporal_server: DevServer) -> None:
    overrides = on_server(temporal_server, "app:journal")
    options = {"workflow.id": "nightly", "workflow.cron_schedule": "0 3 * * *"}

    async def schedule(client: Client) -> tuple[str, float]:
        history = await client.get_workflow_handle("nightly").fetch_history()
        begun = history.events[0].workflow_execution_started_event_attributes
        return begun.cron_schedule, begun.first_workflow_task_backoff.ToTimedelta().total_seconds()

    with Node.from_path(write_app(tmp_path, entries("return 1")), overrides) as node:
        pid = node.spawn("app:flow", "app:worker", options=options)
        kept, waits = foreign(temporal_server, schedule)
        node.terminate(pid)
    assert kept == "0 3 * * *"
    assert 0 < waits <= 86400


def test_a_run_that_ends_with_an_error_of_kind_canceled_is_cancelled_at_the_server(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    source = """
      local kind, asked = ...
      if asked then process.events():receive() end
      local details = asked and {b = "\\xff"} or {n = 1, text = string.rep("x", 500000)}
      return nil, errors.new{message = "as asked", kind = kind, details = details}
    """
    ends = {
        "ends-cancelled": (Kind.CANCELED, True), "ends-failed": (Kind.CONFLICT, True),
        "cancels-itself": (Kind.CANCELED, False),
    }  # fmt: skip
    overrides = on_server(temporal_server, "app:journal")
    with Node.from_path(write_app(tmp_path, entries(source)), overrides) as node:
        for name, (kind, asked) in ends.items():
            options = {"workflow.id": name}
            pid = node.spawn("app:flow", "app:worker", kind, asked, options=options)
            if asked:
                node.cancel(pid)
            with pytest.raises(PerdureError, match="as asked") as failed:
                node.result(pid, PATIENCE)
            details = {"b": b"\xff"} if asked else {"n": 1, "text": "x" * 500_000}
            assert (failed.value.kind, failed.value.details) == (kind, details)
        worker = node.service("app:worker")
        assert isinstance(worker, TemporalWorker)
        assert worker.replay() == (3, {})

    async def statuses(client: Client) -> list[WorkflowExecutionStatus | None]:
        return [(await client.get_workflow_handle(each).describe()).status for each in ends]

    assert foreign(temporal_server, statuses) == [
        WorkflowExecutionStatus.CANCELED, WorkflowExecutionStatus.FAILED,
        WorkflowExecutionStatus.CANCELED,
    ]  # fmt: skip

    async def told(client: Client) -> Sequence[Any]:
        with pytest.raises(WorkflowFailureError) as failed:
            await client.get_workflow_handle("cancels-itself").result()
        assert isinstance(failed.value.cause, CancelledError)
        return failed.value.cause.details

    own, rest = foreign(temporal_server, told)
    assert (own["n"], rest["perdure"]["message"]) == (1, "as asked")


@pytest.mark.parametrize(("machine", "answer", "note"), [(2, True, "y"), (3, "Invalid", "x")])
def test_attributes_and_memo_are_those_of_the_server(
    machine: int,
    answer: object,
    note: str,
    tmp_path: Path,
    temporal_server: DevServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the server does not take is left out, unanswered, in runs that began on machine 2."""
    monkeypatch.setattr("hosts.temporal.start.MACHINE_VERSION", machine)
    overrides = on_server(temporal_server, "app:journal")
    source = """
        assert(workflow.attrs{search = {Total = 12}, memo = {note = "x"}})
        local done, e = workflow.attrs{search = {Total = "x", Vip = false}, memo = {note = "y"}}
        return done or e:kind()
    """
    options = {
        "workflow.id": f"attributes {machine}",
        "workflow.search_attributes": {"Customer": "c-7", "Vip": True},
        "workflow.memo": {"from": "shop"},
    }
    with Node.from_path(write_app(tmp_path, entries(source)), overrides) as node:
        pid = node.spawn("app:flow", "app:worker", options=options)
        assert node.result(pid, PATIENCE) == answer

    async def described(client: Client) -> tuple[Any, Any]:
        told = await client.get_workflow_handle(f"attributes {machine}").describe()
        found = {each.key.name: each.value for each in told.typed_search_attributes}
        return await told.memo(), found

    memo, found = foreign(temporal_server, described)
    assert memo == {"from": "shop", "note": note}
    assert {name: found[name] for name in ("Customer", "Vip", "Total")} == {
        "Customer": "c-7", "Vip": machine > 2, "Total": 12
    }  # fmt: skip
