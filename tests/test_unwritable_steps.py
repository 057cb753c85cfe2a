"""A step that the journal cannot hold hurts its run only, and whoever waits for it hears so."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.errors import Kind, PerdureError
from supervision import Node
from tests.crash_lab import NodeProcess, check_journal, effects, until
from tests.durable_lab import HOST, durable_app
from tests.process_lab import NodeClock

#: The longest delay that can be written, twice: the time it leads to cannot.
NEVER = {"workflow.start_delay": "15250w", "workflow.execution_timeout": "15250w"}
MARKER = "what it began with"
RETRY = {"workflow.retry_policy": {"maximum_attempts": 2}}

WORKFLOWS = {
    "child": "return 7",
    "parent": """
        local process = process.with_options(...)
        local _, by_exec = process:exec("app:child", "app:orders")
        local _, by_spawn = process:spawn("app:child", "app:orders")
        return {{by_exec:kind(), by_exec:message()}, {by_spawn:kind(), by_spawn:message()}}
    """,
    "tries": """
        local how = ...
        if workflow.info().attempt == 2 then return 2 end
        if how == "told" then process.inbox():receive() else funcs.call("app:effect", how) end
        error("to be tried again")
    """,
}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS)


@contextmanager
def hurt(app: Path, text: bytes) -> Iterator[None]:
    """Meanwhile what the journal holds of a text is spoilt, under a running node as well."""
    with (app / "data/journal/data.mdb").open("r+b", buffering=0) as data:
        places = [found.start() for found in re.finditer(re.escape(text), data.read())]
        assert places
        for letter in (b"?", text[:1]):
            for place in places:
                os.pwrite(data.fileno(), letter, place)
            if letter == b"?":
                yield


def kind_of(error: BaseException | None) -> str | None:
    return error.kind if isinstance(error, PerdureError) else None


def test_the_parent_hears_of_a_child_that_cannot_be_started(app: Path) -> None:
    with NodeProcess(app) as node:
        for kind, text in node.result(
            node.spawn("app:parent", HOST, {"workflow.id": "c", **NEVER})
        ):
            assert kind == Kind.INTERNAL
            assert "{app:orders|c}: its step cannot be written: key (" in text
        before = node.spawn("app:child", HOST, options={"workflow.id": "hurt"})
        assert node.result(before) == 7
        run_id = node.row("hurt")["run_id"].encode()
        for _ in range(2):  # its key is not taken for that of a start that was written
            spawn = node.ask(
                "spawn", entry="app:child", host=HOST, args=[], options=NEVER, key="once"
            )
            assert kind_of(spawn.exception()) == Kind.INTERNAL
        node.stop()
    check_journal(app)
    with hurt(app, run_id), NodeProcess(app) as node:
        for kind, text in node.result(node.spawn("app:parent", HOST, {"workflow.id": "hurt"})):
            assert kind == Kind.INTERNAL
            assert "`perdure journal verify` lists every record that is hurt" in text


def test_a_run_whose_step_could_not_be_written_takes_it_anew(
    app: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its first record, which its next attempt is made of, could not be read for a while."""
    hang = app / "hang-called"
    hang.touch()
    clock = NodeClock()

    def both_have_ended() -> bool:
        # The input is given again, and then the next attempt begins.
        clock.advance(node.timers, 100_000_000)
        return len(node.workflows('status = "completed"')) == 2

    with Node.from_path(app, clock=clock) as node:
        told, called = (
            node.spawn("app:tries", HOST, how, MARKER, options={"workflow.id": how, **RETRY})
            for how in ("told", "called")
        )
        until(lambda: len(effects(app)) == 1)
        with hurt(app, MARKER.encode()):
            with pytest.raises(PerdureError, match="told}: its step cannot be written") as error:
                node.send(told, "go", key="once")
            assert error.value.kind == Kind.INTERNAL
            hang.unlink()
            until(lambda: f"{called}: a step cannot be written" in caplog.text)
        node.send(told, "go", key="once")  # what was refused is not taken for what is known
        until(both_have_ended)
    check_journal(app)
    assert len(effects(app)) == 1
