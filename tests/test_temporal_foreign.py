"""What clients that know nothing of us send to a run: it hurts no run, and is told by name."""

from __future__ import annotations

import asyncio
import uuid
import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import pytest
from temporalio import activity
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from hosts.temporal import headers as h
from hosts.temporal.payloads import payload_of
from supervision.node import Node
from tests.conformance_lab import lua
from tests.process_lab import write_app
from tests.temporal_lab import DevServer, on_server

T = TypeVar("T")

ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "journal": {"kind": "journal.lmdb", "path": "j"},
    "worker": {
        "kind": "temporal.worker", "client": "app:journal", "workers": 1,
        "heartbeat_timeout": "500ms",
    },
    "echo": lua("workflow", "return ..."),
    "collects": lua("workflow", """
        local got, inbox = {}, process.inbox()
        while true do
          local m = inbox:receive()
          if m:topic() == "go" then return got end
          local value = m:payload() and m:payload():data()
          got[#got + 1] = {m:topic(), m:from(), type(value) == "userdata" and value:kind() or value}
        end
    """),
    "draws": lua("workflow", """
        local drawn = uuid.v4()
        local same = funcs.call("app:same", drawn)
        process.inbox():receive()
        return drawn == same
    """),
    "calls": lua("workflow", """
        local _, e = funcs.call("app:same", 1)
        return {e:kind(), e:message()}
    """),
    "same": {"kind": "function.lua", "source": "return ..."},
    "elsewhere": lua("workflow", """
        local id, policy = ...
        local given = {["activity.task_queue"] = "elsewhere", ["activity.retry_policy"] = policy}
        local value, e = funcs.new():with_options(given):call(id)
        return value or {e:kind(), e:message()}
    """),
}  # fmt: skip


@activity.defn(name="other:takes_long")
async def takes_long() -> str:
    await asyncio.sleep(1)  # and gives no sign of life
    return "done"


@activity.defn(name="other:fails")
async def fails() -> None:
    raise ValueError(f"attempt {activity.info().attempt}")


class Site(NamedTuple):
    """A node with a worker, and where clients find it."""

    server: DevServer
    queue: str

    def ask(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Something that a foreign client does."""

        async def connected() -> T:
            client = await Client.connect(self.server.address, interceptors=[h.HeaderInterceptor()])
            return await asyncio.wait_for(work(client), 30)

        return asyncio.run(connected())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, temporal_server: DevServer) -> Iterator[Site]:
    overrides = on_server(temporal_server, "app:journal")
    app = write_app(tmp_path_factory.mktemp("app"), ENTRIES)
    with Node.from_path(app, overrides):
        yield Site(temporal_server, overrides[2].partition("=")[2] + "app:worker")


def payload(encoding: str, data: bytes) -> RawValue:
    return RawValue(Payload(metadata={"encoding": encoding.encode()}, data=data))


UNREADABLE = {
    "binary/encrypted": b"??",
    "json/plain": b"{",
    "json/protobuf": b"[" * 150 + b"]" * 150,
    "json/large": str(2**70).encode(),
    "json/text": b'"\\ud800"',
    "binary/perdure": b"\xc1",
}


@pytest.mark.parametrize("encoding", UNREADABLE)
def test_arguments_that_cannot_be_read_fail_the_run(site: Site, encoding: str) -> None:
    async def begin(client: Client) -> Any:
        given = payload(encoding, UNREADABLE[encoding])
        return await client.execute_workflow(
            "app:echo", given, id=str(uuid.uuid4()), task_queue=site.queue
        )

    with pytest.raises(WorkflowFailureError) as failed:
        site.ask(begin)
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == "Invalid"


@pytest.mark.parametrize("encoding", UNREADABLE)
def test_a_message_that_cannot_be_read_is_one_with_an_error(site: Site, encoding: str) -> None:
    async def tell(client: Client) -> Any:
        workflow_id = str(uuid.uuid4())
        handle = await client.start_workflow("app:collects", id=workflow_id, task_queue=site.queue)
        await handle.signal("odd", payload(encoding, UNREADABLE[encoding]))
        await handle.signal("even", {"n": 2})
        await handle.signal("go")
        return await handle.result()

    assert site.ask(tell) == [["odd", "", "Invalid"], ["even", "", {"n": 2}]]


@pytest.mark.parametrize("topic", ["@event", "@cancel"])
@pytest.mark.parametrize("args", [[], [5], [{"no": "kind"}], [payload("binary/x", b"?")]])
def test_signals_by_our_own_names_are_none_of_ours(site: Site, topic: str, args: list[Any]) -> None:
    async def tell(client: Client) -> Any:
        workflow_id = str(uuid.uuid4())
        handle = await client.start_workflow("app:collects", id=workflow_id, task_queue=site.queue)
        await handle.signal(topic, args=args)
        await handle.signal("go")
        return await handle.result()

    assert site.ask(tell) == []


ODD: Final[dict[str, list[Any]]] = {
    h.CONTEXT: ["text", 5, ["a"], {5: "a"}],
    h.PARENT: [5, {"a": 1}, None],
    h.KEYS: ["one", {"a": 1}, [1]],
    h.MESSAGES: [7, ["go"], [["go", 1, ""]], [["go", []]]],
    h.UNREAD: ["r", b"\xc1", b"\x93\xa1r\x90\xc0", b"\x93\xa1r\x91\x92\xa4kill\xa0\x90"],
    h.CHILDREN: ["one", [1], [["one"]], [["one", 2]]],
    h.SOURCE: ["return 1", 12, b"", *map(zlib.compress, (b"return 1", b"\x93\x01", b"\x90"))],
    h.SEED: ["seed", 12, [1]],
    h.MACHINE: ["two", -1, 2.5, True],
    h.DELAY: ["1s", -5, 1 << 70, [1]],
}


def test_headers_by_our_own_names_that_are_none_of_ours_fail_the_run(site: Site) -> None:
    async def begin(client: Client, name: str, value: RawValue) -> str:
        given = {h.SEED: payload_of(bytes(32)), name: value.payload}
        with h.sending(given), pytest.raises(WorkflowFailureError) as failed:
            await client.execute_workflow("app:echo", id=str(uuid.uuid4()), task_queue=site.queue)
        assert isinstance(failed.value.cause, ApplicationError)
        assert failed.value.cause.type == "Invalid"
        return failed.value.cause.message

    async def begin_all(client: Client) -> None:
        odd = [
            (name, RawValue(payload_of(value))) for name, values in ODD.items() for value in values
        ]
        odd += [(name, payload("binary/x", b"?")) for name in ODD]
        told = await asyncio.gather(*(begin(client, *each) for each in odd))
        for (name, _), message in zip(odd, told, strict=True):
            assert f"header {name}" in message

    site.ask(begin_all)


def test_odd_headers_of_a_message_are_as_if_not_there(site: Site) -> None:
    async def tell(client: Client) -> Any:
        workflow_id = str(uuid.uuid4())
        handle = await client.start_workflow("app:collects", id=workflow_id, task_queue=site.queue)
        for odd in (payload_of(5), payload_of(["a"]), payload("binary/x", b"?").payload):
            with h.sending({h.SENDER: odd, h.KEY: odd}):
                await handle.signal("n", 1)
        await handle.signal("go")
        return await handle.result()

    assert site.ask(tell) == [["n", "", 1]] * 3


@pytest.mark.parametrize(
    ("name", "value"), [(h.ACTIVITY, "patient"), (h.ACTIVITY, {"id": 5}), (h.CONTEXT, 5)]
)
def test_odd_headers_fail_an_activity(
    site: Site, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    sound = h._add

    def add(request: Any) -> None:
        sound(request)
        if getattr(request, "activity", "") == "app:same":
            request.headers = {name: payload_of(value)}

    async def call(client: Client) -> Any:
        return await client.execute_workflow(
            "app:calls", id=str(uuid.uuid4()), task_queue=site.queue
        )

    monkeypatch.setattr(h, "_add", add)
    kind, message = site.ask(call)
    assert (kind, message.partition(": ")[0]) == ("Invalid", f"the header {name}")


def test_the_queries_that_a_server_makes_for_its_pages(site: Site) -> None:
    async def ask(client: Client) -> list[Any]:
        workflow_id = str(uuid.uuid4())
        handle = await client.start_workflow("app:collects", id=workflow_id, task_queue=site.queue)
        names = ("__temporal_workflow_metadata", "__stack_trace", "__enhanced_stack_trace")
        answers = [await handle.query(name) for name in names]
        await handle.signal("go")
        await handle.result()
        return answers

    told = site.ask(ask)
    assert told[0].definition.type == "app:collects"
    assert told[1].startswith("Stack for ")


def test_a_run_that_is_reset_draws_what_it_has_drawn(site: Site) -> None:
    async def reset(client: Client) -> Any:
        workflow_id = str(uuid.uuid4())
        handle = await client.start_workflow("app:draws", id=workflow_id, task_queue=site.queue)
        await handle.signal("go")
        assert await handle.result() is True
        completed = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
        steps = [
            event.event_id
            async for event in handle.fetch_history_events()
            if event.event_type == completed
        ]
        request = ResetWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            reason="again",
            workflow_task_finish_event_id=steps[-1],
            request_id=str(uuid.uuid4()),
        )
        await client.workflow_service.reset_workflow_execution(request)
        return await client.get_workflow_handle(workflow_id).result()

    assert site.ask(reset) is True


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("other:takes_long",), "done"),
        (("other:fails",), ["Internal", "ValueError: attempt 1"]),
        (("other:fails", {"initial_interval": 1, "maximum_attempts": 2}), [
            "Internal", "ValueError: attempt 2",
        ]),
    ],
)  # fmt: skip
def test_activities_of_another_worker_have_one_attempt_and_may_be_silent(
    site: Site, args: Sequence[Any], expected: Any
) -> None:
    async def call(client: Client) -> Any:
        queue = site.queue.replace("app:worker", "elsewhere")
        async with Worker(client, task_queue=queue, activities=[takes_long, fails]):
            return await client.execute_workflow(
                "app:elsewhere", args=args, id=str(uuid.uuid4()), task_queue=site.queue
            )

    assert site.ask(call) == expected
