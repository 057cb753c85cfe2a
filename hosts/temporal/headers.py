"""What travels beside arguments: in the headers of runs, signals and activities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final, NoReturn

from temporalio import client, worker, workflow
from temporalio.api.common.v1 import Payload

from hosts.temporal import unread
from hosts.temporal.payloads import payload_of, value_of
from runtime.errors import Kind, PerdureError
from runtime.ids import RESERVED

#: Values that are inherited, a map.
CONTEXT: Final = "perdure-context"
#: PID of who started a run.
PARENT: Final = "perdure-parent"
#: Worker that the PID of a run names, where it was started for a task queue of another one.
HOST: Final = "perdure-host"
#: PID of who sent a message.
SENDER: Final = "perdure-sender"
#: Idempotency key of a message: the server knows those of a run, not those of the run before it.
KEY: Final = "perdure-key"
#: Keys of messages that the runs before have got, a list.
KEYS: Final = "perdure-keys"
#: Messages that a run begins with: a list of topic, arguments and sender.
MESSAGES: Final = "perdure-messages"
#: What the run before has not read.
UNREAD: Final = "perdure-unread"
#: Children that a run takes over from the one that it goes on for: workflow id and run id of each.
CHILDREN: Final = "perdure-children"
#: The source that a run is pinned to, compressed.
SOURCE: Final = "perdure-source"
#: 32 bytes from which a run derives what is random in it.
SEED: Final = "perdure-seed"
#: Version of the machine that a run began on.
MACHINE: Final = "perdure-machine"
#: Nanoseconds that a child waits before it begins: the server delays no children.
DELAY: Final = "perdure-delay"
#: How a function runs: a map with `heartbeat` (ns), `patient` and `id`, as its caller set them, and
#: with `seq`, the number of the call, where that is not the id.
ACTIVITY: Final = "perdure-activity"

Headers = Mapping[str, Payload]
_NONE: Final[Headers] = MappingProxyType({})
_outgoing: ContextVar[Headers] = ContextVar("perdure_outgoing_headers", default=_NONE)
_incoming: ContextVar[Headers] = ContextVar("perdure_incoming_headers", default=_NONE)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_context(value: Any) -> bool:
    if value == []:  # an empty table is also an empty list
        return True
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _is_messages(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, list) and [type(part) for part in each] == [str, list, str]
        for each in value
    )


def _is_activity(value: Any) -> bool:
    return isinstance(value, dict) and all(
        type(each) is _ACTIVITY.get(name) for name, each in value.items()
    )


_ACTIVITY: Final = {"heartbeat": int, "patient": bool, "id": str, "seq": int}
_LONGEST: Final = 1 << 62

#: What runs and activities are given -> whether a value is one that is written there.
_GIVEN: Final[Mapping[str, Callable[[Any], bool]]] = {
    CONTEXT: _is_context,
    PARENT: lambda value: isinstance(value, str),
    HOST: lambda value: isinstance(value, str) and not RESERVED.intersection(value),
    KEYS: _is_texts,
    MESSAGES: _is_messages,
    UNREAD: lambda value: unread.read(value) is not None,
    CHILDREN: lambda value: (
        isinstance(value, list) and all(_is_texts(each) and len(each) == 2 for each in value)
    ),
    SOURCE: lambda value: isinstance(value, bytes),
    SEED: lambda value: isinstance(value, bytes),
    MACHINE: lambda value: type(value) is int and value > 0,
    DELAY: lambda value: type(value) is int and 0 <= value < _LONGEST,
    ACTIVITY: _is_activity,
}


def given(headers: Headers) -> dict[str, Any]:
    """What a run or activity is given beside its arguments, by name. Raises PerdureError INVALID
    for what somebody else has put under such a name."""
    values = {}
    for name, is_ours in _GIVEN.items():
        if name not in headers:
            continue
        try:
            values[name] = value_of(headers[name])
        except PerdureError as error:
            raise _strange(name, error.message) from None
        if not is_ours(values[name]):
            raise _strange(name, "its value is none of Perdure's")
    return values


def _strange(name: str, what: str) -> PerdureError:
    text = f"the header {name}: {what}: begin without it, as it is there for Perdure itself"
    return PerdureError(Kind.INVALID, text, False)


def headers_of(values: Mapping[str, Any]) -> dict[str, Payload]:
    """Headers from values; those that are None are left out."""
    return {name: payload_of(value) for name, value in values.items() if value is not None}


@contextmanager
def sending(headers: Headers) -> Iterator[None]:
    """What is asked of Temporal meanwhile has these headers."""
    token = _outgoing.set(headers)
    try:
        yield
    finally:
        # A run that leaves memory closes its coroutines from another context.
        with suppress(ValueError):
            _outgoing.reset(token)


def received() -> Headers:
    """The headers of the activity that runs."""
    return _incoming.get()


def _add(request: Any) -> None:
    request.headers = {**request.headers, **_outgoing.get()}


class HeaderInterceptor(client.Interceptor, worker.Interceptor):
    """Adds headers to what leaves, and gives away those of what comes."""

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:
        return _FromClient(next)

    def intercept_activity(
        self,
        next: worker.ActivityInboundInterceptor,
    ) -> worker.ActivityInboundInterceptor:
        return _ToActivity(next)

    def workflow_interceptor_class(
        self, input: worker.WorkflowInterceptorClassInput
    ) -> type[worker.WorkflowInboundInterceptor] | None:
        return _ToWorkflow


class _FromClient(client.OutboundInterceptor):
    async def start_workflow(
        self, input: client.StartWorkflowInput
    ) -> client.WorkflowHandle[Any, Any]:
        _add(input)
        return await super().start_workflow(input)

    async def signal_workflow(self, input: client.SignalWorkflowInput) -> None:
        _add(input)
        await super().signal_workflow(input)


class _ToActivity(worker.ActivityInboundInterceptor):
    async def execute_activity(self, input: worker.ExecuteActivityInput) -> Any:
        _incoming.set(input.headers)
        return await super().execute_activity(input)


class _ToWorkflow(worker.WorkflowInboundInterceptor):
    def init(self, outbound: worker.WorkflowOutboundInterceptor) -> None:
        super().init(_FromWorkflow(outbound))

    async def handle_signal(self, input: worker.HandleSignalInput) -> None:
        sender, key = (_text(input.headers, name) for name in (SENDER, KEY))
        workflow.instance().take_signal(input.signal, input.args[-1], sender, key)


def _text(headers: Headers, name: str) -> str:
    """A header that is a text; "" without one, and for what somebody else has put there."""
    if name not in headers:
        return ""
    try:
        value = value_of(headers[name])
    except PerdureError:
        return ""
    return value if isinstance(value, str) else ""


class _FromWorkflow(worker.WorkflowOutboundInterceptor):
    def continue_as_new(self, input: worker.ContinueAsNewInput) -> NoReturn:
        _add(input)
        super().continue_as_new(input)
        raise AssertionError

    async def signal_external_workflow(self, input: worker.SignalExternalWorkflowInput) -> None:
        _add(input)
        await super().signal_external_workflow(input)

    def start_activity(self, input: worker.StartActivityInput) -> workflow.ActivityHandle[Any]:
        _add(input)
        return super().start_activity(input)

    def start_local_activity(
        self, input: worker.StartLocalActivityInput
    ) -> workflow.ActivityHandle[Any]:
        _add(input)
        return super().start_local_activity(input)

    async def start_child_workflow(
        self, input: worker.StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        _add(input)
        return await super().start_child_workflow(input)
