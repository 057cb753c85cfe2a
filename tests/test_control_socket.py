"""The control socket: who can use it, what it answers to nonsense, and who waits for whom."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Kind, PerdureError
from supervision import Node
from supervision.control.address import socket_address
from supervision.control.client import ControlClient, NoNodeError
from supervision.control.operations import OPERATIONS
from supervision.control.waiting import Waiting
from tests.cli_lab import APP, write

TIMEOUT = 30.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node.from_path(write(tmp_path / "app", APP)) as node:
        yield node


def raw(node: Node) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT)
    with socket_address(node.data.socket) as address:
        connection.connect(address)
    return connection


def ask(node: Node, request: bytes) -> dict[str, Any]:
    with raw(node) as connection, connection.makefile("rb") as lines:
        connection.sendall(request + b"\n")
        response: dict[str, Any] = json.loads(lines.readline())
    return response


def in_background(node: Node, op: str, **params: Any) -> Future[Any]:
    """An operation on a connection of its own; returns once the request is sent."""
    result: Future[Any] = Future()
    client = ControlClient(node.data.socket)

    def run() -> None:
        with client:
            try:
                result.set_result(client.call(op, **params))
            except PerdureError as error:
                result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result


def test_only_the_owner_can_use_it_and_it_goes_with_the_node(tmp_path: Path) -> None:
    with Node.from_path(write(tmp_path / "app", APP)) as node:
        path = node.data.socket
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_ISSOCK(path.stat().st_mode)
    assert not path.exists()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    app = write(tmp_path / "app", APP)
    path = app / ".perdure" / "control.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(os.path.relpath(path) if len(str(path)) > 100 else str(path))
    with pytest.raises(NoNodeError) as refused:
        ControlClient(path)
    assert refused.value.gone
    with Node.from_path(app) as node, ControlClient(node.data.socket) as client:
        assert client.call("services")


def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-folder-with-a-rather-long-name"] * 5)
    with pytest.raises(NoNodeError):
        ControlClient(deep / "control.sock")
    with Node.from_path(write(tmp_path / "app", APP), data=deep) as node:
        assert len(str(node.data.socket)) > 108
        with ControlClient(node.data.socket) as client:
            assert len(client.call("services")) == 4
    assert not (deep / "control.sock").exists()


@pytest.mark.parametrize(
    ("request_", "kind", "said"),
    [
        (b"services", Kind.INVALID, "not JSON"),
        (b"[1]", Kind.INVALID, 'needs "op"'),
        (b'{"op": 1}', Kind.INVALID, 'needs "op"'),
        (b'{"op": "services", "params": []}', Kind.INVALID, "is a map"),
        (b'{"op": "servces"}', Kind.INVALID, 'did you mean "services"?'),
        (b'{"op": "services", "params": {"x": 1}}', Kind.INVALID, 'no parameter "x"'),
        (b'{"op": "send", "params": {"to": "x"}}', Kind.INVALID, 'needs "topic"'),
        (b'{"op": "send", "params": {"to": 1, "topic": "x"}}', Kind.INVALID, "1 is not a str"),
        (
            b'{"op": "workflows.list", "params": {"limit": true}}',
            Kind.INVALID,
            "True is not a int",
        ),
        (b'{"op": "send", "params": {"to": "x", "topic": "y"}}', Kind.NOT_FOUND, '"x"'),
        (b"[" * 100_000, Kind.INVALID, "not JSON"),
        (b"\xff\xfe", Kind.INVALID, "not JSON"),
    ],
)
def test_a_wrong_request_gets_a_clear_error(
    node: Node, request_: bytes, kind: str, said: str
) -> None:
    response = ask(node, request_)
    assert response["ok"] is False
    assert response["error"]["kind"] == kind
    assert said in response["error"]["message"]


def test_a_connection_survives_wrong_requests_and_answers_in_order(node: Node) -> None:
    with raw(node) as connection, connection.makefile("rb") as lines:
        connection.sendall(b'nonsense\n{"op": "services"}\n{"op": "processes"}\n')
        answers = [json.loads(lines.readline()) for _ in range(3)]
    assert [answer["ok"] for answer in answers] == [False, True, True]
    assert [len(answer["result"]) for answer in answers[1:]] == [4, 1]


def test_those_who_wait_hold_up_nobody(node: Node) -> None:
    with ControlClient(node.data.socket) as client:
        client.call("workflows.start", entry="app:order", host="app:orders",
                    args=[{"price": 1}], id="o")  # fmt: skip
        # More of them than there are threads for operations.
        waiting = [in_background(node, "workflows.wait", workflow="o") for _ in range(40)]
        assert client.call("services")
        client.call("workflows.send", workflow="o", topic="approve", payload=[{"by": "ann"}])
        for each in waiting:
            assert each.result(TIMEOUT) == {"total": 2, "by": "ann"}


def test_a_wait_ends_with_its_timeout(node: Node) -> None:
    node.spawn("app:order", "app:orders", {"price": 1}, options={"workflow.id": "o"})
    with ControlClient(node.data.socket) as client:
        with pytest.raises(PerdureError) as late:
            client.call("workflows.wait", workflow="o", timeout=0.01)
        assert late.value.kind == Kind.TIMEOUT
        assert client.call("services")


def test_a_wait_ends_with_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered = threading.Event()

    def hold(node: Node) -> Waiting:
        waiting = Waiting(node, "{app:orders|o}", None)
        registered.set()
        return waiting

    monkeypatch.setitem(OPERATIONS, "hold", hold)
    with Node.from_path(write(tmp_path / "app", APP)) as node:
        node.spawn("app:order", "app:orders", {"price": 1}, options={"workflow.id": "o"})
        waiting = in_background(node, "hold")
        assert registered.wait(TIMEOUT)
    with pytest.raises(PerdureError) as stopped:
        waiting.result(TIMEOUT)
    assert stopped.value.kind == Kind.UNAVAILABLE
    assert "stopped" in stopped.value.message


def test_a_client_that_hangs_up_leaves_nothing_behind(node: Node) -> None:
    node.spawn("app:order", "app:orders", {"price": 1}, options={"workflow.id": "o"})
    request = b'{"op": "workflows.wait", "params": {"workflow": "o"}}\n'
    for _ in range(3):
        with raw(node) as connection:
            connection.sendall(request)
    # Half a request, and none at all.
    for part in (b'{"op":', b""):
        with raw(node) as connection:
            connection.sendall(part)
    assert ask(node, b'{"op": "services"}')["ok"]


def test_an_error_keeps_what_it_says_on_its_way(node: Node) -> None:
    node.spawn("app:order", "app:orders", {"price": 1}, options={"workflow.id": "o"})
    node.send("{app:orders|o}", "reject", {"by": "bob"})
    with ControlClient(node.data.socket) as client, pytest.raises(PerdureError) as failed:
        client.call("workflows.wait", workflow="o")
    with pytest.raises(PerdureError) as same:
        node.result("{app:orders|o}", TIMEOUT)
    assert failed.value == same.value
    assert failed.value.trace == same.value.trace != ""
