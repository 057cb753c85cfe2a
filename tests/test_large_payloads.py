"""Values of several MB pass through workflows; what is over the limit is refused with its size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from journal.databases import PAYLOADS
from journal.payloads import CHUNK
from runtime.errors import Kind, PerdureError
from supervision import Node
from tests.crash_lab import NodeProcess, check_journal, survive
from tests.durable_lab import HOST, durable_app, journal_of, kinds_on_disk
from tests.process_lab import PATIENCE

WORKFLOWS = {
    "echo": """
        local given = ...
        local made = assert(funcs.call("app:make", 5000000))
        local same = assert(funcs.call("app:size", made)) == funcs.call("app:size", made)
        local sent = process.inbox():receive():payload():data()
        return {#given, #made, same, #sent, made}
    """,
    "large": """
        local what, size = ...
        local text = ("x"):rep(size)
        if what == "call" then
          local value, err = funcs.call("app:size", text)
          return {value or err:kind(), err and err:message(), funcs.call("app:size", "after")}
        elseif what == "send" then
          local _, err = process.send(process.pid(), "topic", text)
          return err:message()
        elseif what == "spawn" then
          local _, err = process.spawn("app:echo", "app:orders", text)
          return err:message()
        elseif what == "make" then
          local _, err = funcs.call("app:make", size)
          return {err:kind(), err:message(), err:retryable()}
        elseif what == "wait" then
          local refused = select(2, funcs.call("app:size", text)) ~= nil
          process.inbox():receive()
          return {refused, select(2, funcs.call("app:size", text)) ~= nil}
        elseif what == "upgrade" then
          local _, err = process.upgrade(nil, "make", text)
          return {err:kind(), err:message()}
        elseif what == "attrs" then
          local _, err = workflow.attrs{memo = {text = text}}
          local _, also = workflow.attrs{search = {text = text}}
          return {err:message(), also:message(), workflow.attrs{memo = {text = "short"}}}
        elseif what == "fail" then
          error(text)
        elseif what == "event" then
          local pid = assert(process.spawn_monitored("app:writer", "app:processes", size))
          local event = process.events():receive()
          local err = event.result.error
          return {event.kind, event.from == pid, err and err:message()}
        end
        return text
    """,
}
FUNCTIONS = """
def make(size):
    return "y" * size

def size(text):
    return len(text)
"""
WRITER = """
- {name: writer, kind: process.lua, source: 'return ("z"):rep((...))'}
"""
LIMIT = 1_000_000


def make_app(folder: Path, limit: str) -> Path:
    app = durable_app(folder, WORKFLOWS, FUNCTIONS, ("make", "size"), WRITER)
    change_limit(app, "data/journal}", f"data/journal, payload_limit: {limit}}}")
    return app


def change_limit(app: Path, old: str, new: str) -> None:
    config = app / "app.yaml"
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


@pytest.mark.parametrize("fault", [None, *(f"journal.commit.{at}:{n}" for at in
    ("before", "after") for n in (2, 4))])  # fmt: skip
def test_values_of_several_megabytes_survive(tmp_path: Path, fault: str | None) -> None:
    app = make_app(tmp_path / "app", "10MB")

    def script(node: NodeProcess) -> Any:
        pid = node.spawn("app:echo", HOST, "a" * 3_000_000, key="k")
        node.send(pid, "topic", "b" * 4_000_000, key="m")
        return node.result(pid)

    result, deaths = survive(app, script, fault)
    assert deaths == (fault is not None)
    assert result == [3_000_000, 5_000_000, True, 4_000_000, "y" * 5_000_000]
    with journal_of(app) as journal:
        with journal.env.read() as (txn, handles):
            stored = txn.stat(handles[PAYLOADS])["entries"]
        # Arguments of the run, result of an activity, arguments of two, message, result of the run.
        sizes = (3_000_000, 5_000_000, 5_000_000, 4_000_000, 5_000_000)
        assert stored == sum(-(-size // CHUNK) for size in sizes)
    check_journal(app)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node.from_path(make_app(tmp_path / "app", "1MB")) as node:
        yield node


def refused(size: int) -> str:
    return rf"{size} bytes are more than the payload_limit of app:journal, {LIMIT}: "


def test_what_comes_from_outside_is_refused(node: Node) -> None:
    with pytest.raises(PerdureError, match="the arguments of app:echo: " + refused(2_000_006)):
        node.spawn("app:echo", HOST, "x" * 2_000_000)
    waits = node.spawn("app:large", HOST, "wait", 1)
    with pytest.raises(PerdureError, match="the message topic: " + refused(2_000_006)) as caught:
        node.send(waits, "topic", "x" * 2_000_000)
    assert caught.value.kind == Kind.INVALID
    with pytest.raises(PerdureError, match="the result of app:make: " + refused(5_000_005)):
        run(node, "echo", "x")


def run(node: Node, name: str, *args: Any) -> Any:
    return node.result(node.spawn(f"app:{name}", HOST, *args), PATIENCE)


def test_what_comes_with_a_start_or_a_cancel_is_refused(node: Node) -> None:
    large = "x" * 2_000_000
    for name, what in (("memo", "memo"), ("search_attributes", "search attributes")):
        options = {f"workflow.{name}": {"text": large}}
        with pytest.raises(PerdureError, match=f"the {what} of app:large: {refused(2000011)}"):
            node.spawn("app:large", HOST, "wait", 1, options=options)
    waits = node.spawn("app:large", HOST, "wait", 1)
    with pytest.raises(PerdureError, match="the reason to cancel: " + refused(2_000_005)):
        node.cancel(waits, large)
    node.send(waits, "topic", "go")
    assert node.result(waits, PATIENCE) == [False, False]


def test_an_exit_with_a_large_result_says_so(node: Node) -> None:
    kind, own, error = run(node, "large", "event", 2_000_000)
    assert (kind, own) == ("pid.exit", True)
    assert error.startswith("the result in an event: 2000")
    assert "more than the payload_limit of app:journal" in error
    assert run(node, "large", "event", 1000) == ["pid.exit", True]


def test_what_a_workflow_keeps_is_refused(node: Node) -> None:
    over = f" bytes are more than the payload_limit of the journal, {LIMIT}: "
    kind, message = run(node, "large", "upgrade", 2_000_000)
    assert kind == Kind.INVALID
    assert message.startswith("the arguments of app:large: 2000011" + over)
    memo, search, kept = run(node, "large", "attrs", 2_000_000)
    assert memo.startswith("the memo: 2000011" + over)
    assert search.startswith("the search attributes: 2000011" + over)
    assert kept is True
    with pytest.raises(PerdureError, match="the error: 20[0-9]+" + over):
        run(node, "large", "fail", 2_000_000)


def test_what_a_workflow_sends_out_is_refused(node: Node) -> None:
    own = f"2000006 bytes are more than the payload_limit of the journal, {LIMIT}: "
    kind, message, after = run(node, "large", "call", 2_000_000)
    assert (kind, after) == (Kind.INVALID, 5)
    assert message.startswith("the arguments of app:size: " + own)
    assert run(node, "large", "send", 2_000_000).startswith("the message topic: " + own)
    assert run(node, "large", "spawn", 2_000_000).startswith("the arguments of app:echo: " + own)
    kind, message, retryable = run(node, "large", "make", 2_000_000)
    assert (kind, retryable) == (Kind.INVALID, False)
    with pytest.raises(PerdureError, match="the result: 2000000 bytes are more than"):
        run(node, "large", "return", 2_000_000)


@pytest.mark.parametrize(("before", "after"), [("1MB", "10MB"), ("10MB", "1MB")])
def test_a_limit_that_changed_changes_no_history(tmp_path: Path, before: str, after: str) -> None:
    app = make_app(tmp_path / "app", before)
    with NodeProcess(app) as node:
        pid = node.spawn("app:large", HOST, "wait", 2_000_000, options={"workflow.id": "w"})
        node.kill()
        change_limit(app, f"payload_limit: {before}", f"payload_limit: {after}")
        node.crash()
        node.send(pid, "go")
        assert node.result(pid) == [before == "1MB", after == "1MB"]
        node.kill()
    assert kinds_on_disk(app, "w")[-1] == "completed"
    check_journal(app)
