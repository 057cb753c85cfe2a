"""Runs the same Lua code as a function, a process and a workflow on the hosts of one real node."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from hosts.temporal.worker import TemporalWorker
from runtime.config.code_fields import MODULES
from runtime.errors import PerdureError
from supervision.node import Node
from tests.process_lab import PATIENCE, write_app
from tests.replay_lab import misfits
from tests.temporal_lab import DevServer, on_server

#: How a case runs. `temporal` is the workflow again, on a node of which one entry was overridden.
KINDS: Final = ("function", "process", "workflow", "temporal")
_ALL: Final = sorted(set(MODULES) - {"process", "channel", "errors", "payload"})
_HOSTS: Final[dict[str, dict[str, Any]]] = {
    "journal": {"kind": "journal.lmdb", "path": "./data/journal"},
    "workflows": {"kind": "temporal.worker", "client": "app:journal", "workers": 1},
}


def lua(kind: str, source: str, **fields: Any) -> dict[str, Any]:
    """An entry `<kind>.lua` whose body is the source, with every module."""
    code = {"kind": f"{kind}.lua", "source": textwrap.dedent(source), "modules": _ALL}
    return {**code, **fields}


#: What the cases call and spawn.
ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "echo": lua("function", "return ..."),
    "list": lua("function", "return {...}"),
    "who": lua("function", """
        local all = ctx.all()
        all["activity.key"], all["activity.attempt"] = nil, nil
        return {all, process.id(), process.pid() ~= ''}
    """),
    "second": lua("function", "return nil, errors.new{message = 'no', kind = errors.CONFLICT, "
        "retryable = true, details = {a = {1}}}"),
    "beside": lua("function", "return {error = 'sold out'}"),
    "raises": lua("function", "local x\nreturn x.y"),
    "raises_text": lua("function", "error('text')"),
    "raises_table": lua("function", "error({message = 'from a table', code = 5})"),
    "raises_code": lua("function", "error({code = 5})"),
    "returns_code": lua("function", "return 1, {code = 5, f = print, [{}] = 1}"),
    "far_code": lua("function", "error({code = 5})", pool={"type": "static"}),
    "hosted_code": lua("process", "return 1, {code = 5}", meta={"default_host": "app:one"}),
    "python_code": {"kind": "function.python", "target": "helpers:code"},
    "hangs": lua("function", "process.events():receive() return 'cancelled'"),
    "nested": lua("function", "return funcs.call('app:who')"),
    "deadlock": lua("function", "channel.new():receive()"),
    "python": {"kind": "function.python", "target": "helpers:echo"},
    "python_fails": {"kind": "function.python", "target": "helpers:fails"},
    "flaky": {"kind": "function.python", "target": "helpers:flaky"},
    "final": {"kind": "function.python", "target": "helpers:final"},
    "attempts": {"kind": "function.python", "target": "helpers:attempts"},
    "hang": {"kind": "function.python", "target": "helpers:hang"},
    "child": lua("process", "return {...}"),
    "child_fails": lua("process", "error(errors.new{message = 'no', kind = errors.TIMEOUT}, 0)"),
    "child_context": lua("process", "return ctx.all()"),
    "waits": lua("process", """
        local events, inbox, got = process.events(), process.inbox(), {}
        while true do
          local one = channel.select({inbox:case_receive(), events:case_receive()})
          if one.channel == events then return {one.value.kind, one.value.reason, got} end
          got[#got + 1] = one.value:topic()
          if one.value:topic() == "ping" then
            process.send(one.value:from(), "pong", one.value:payload():data())
          end
        end
    """),
    "hosted": lua("process", "return {'hosted', ...}", meta={"default_host": "app:one"}),
    "child_workflow": lua("workflow", "return {workflow.info().workflow_type, ...}"),
}  # fmt: skip

_PYTHON: Final = {
    "helpers": """
        import asyncio
        from runtime.api import PerdureError
        made = {}

        def echo(*args):
            return list(args)

        def fails():
            raise PerdureError("RateLimited", "slowly", True, {"after": 5})

        def code():
            return 1, {"code": 5}

        def flaky(key):
            made[key] = made.get(key, 0) + 1
            if made[key] < 3:
                raise PerdureError("Unavailable", "not yet")
            return made[key]

        def final(key):
            made[key] = made.get(key, 0) + 1
            raise PerdureError("Invalid", "never", False)

        def attempts(key):
            return made.get(key, 0)

        async def hang(key):
            made[key] = "running"
            try:
                await asyncio.sleep(60)
            finally:
                made[key] = "cancelled"
    """
}


class Conformance:
    """A node whose entries are cases: each is `app:<kind>_<number>` of its source."""

    def __init__(
        self,
        node: Node,
        folder: Path,
        numbers: Mapping[str, int],
        on_temporal: Callable[[], Node],
    ) -> None:
        self.node = node
        self._folder = folder
        self._numbers = numbers
        self._on_temporal = on_temporal

    def run(self, name: str, kind: str) -> Any:
        """The result of a case; raises its error."""
        if kind == "temporal":
            return self._run(self._on_temporal(), name, "workflow")
        return self._run(self.node, name, kind)

    def _run(self, node: Node, name: str, kind: str) -> Any:
        entry = f"app:{kind}_{self._numbers[name]}"
        if kind == "function":
            return node.call(entry, timeout=PATIENCE)
        host = "app:one" if kind == "process" else "app:workflows"
        return node.result(node.spawn(entry, host), PATIENCE)

    def misfits(self) -> dict[str, str]:
        """End the node, replay every workflow that it ran: what a replay did otherwise."""
        self.node.stop()
        count, found = misfits(self._folder)
        assert count >= len(self._numbers)
        return found

    def misfits_on_temporal(self) -> dict[str, str]:
        """Replay, by the SDK's replayer, every workflow that ran on Temporal."""
        worker = self._on_temporal().service("app:workflows")
        assert isinstance(worker, TemporalWorker)
        count, found = worker.replay()
        assert count >= len(self._numbers)
        return found

    def failure(self, name: str, kind: str) -> PerdureError:
        """The error of a case."""
        try:
            value = self.run(name, kind)
        except PerdureError as error:
            return error
        raise AssertionError(f"{name} as {kind} ended well, with {value!r}")


@contextmanager
def conformance(
    folder: Path, cases: Mapping[str, str], server: Callable[[], DevServer]
) -> Iterator[Conformance]:
    """A node with these cases, by name, and ENTRIES.

    Args:
        server: gives the Temporal server, for the cases that run there.
    """
    numbers = {name: number for number, name in enumerate(cases)}
    listed = {**_HOSTS, **ENTRIES}
    for name, source in cases.items():
        for kind in KINDS[:3]:
            listed[f"{kind}_{numbers[name]}"] = lua(kind, source)
    app = write_app(folder, listed, _PYTHON)
    with ExitStack() as nodes:

        @cache
        def on_temporal() -> Node:
            other = Node.from_path(app, on_server(server(), "app:journal"), folder / "temporal")
            return nodes.enter_context(other)

        node = nodes.enter_context(Node.from_path(app))
        yield Conformance(node, folder, numbers, on_temporal)


def conformance_fixture(cases: Mapping[str, str]) -> Any:
    """A fixture: `conformance` for all tests of a module. Its server starts when it is used."""

    @pytest.fixture(scope="module")
    def node(
        tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
    ) -> Iterator[Conformance]:
        def server() -> DevServer:
            found: DevServer = request.getfixturevalue("temporal_server")
            return found

        with conformance(tmp_path_factory.mktemp("app"), cases, server) as lab:
            yield lab

    return node
