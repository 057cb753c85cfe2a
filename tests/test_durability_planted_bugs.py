"""The crash tests prove something: with a bug planted in what is written, the loss shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import PerdureError
from tests.crash_lab import NodeProcess, effects, until
from tests.durable_lab import HOST, durable_app

WORKFLOWS = {
    "sleep": 'time.sleep("1h") return "slept"',
    "call": 'return funcs.call("app:effect", "call")',
    "listen": "local inbox = process.inbox() return {inbox:receive().n, inbox:receive().n}",
}
#: Well above what the sound node takes (a few milliseconds).
NEVER = 1.5


@pytest.fixture(params=[False, True], ids=["sound", "planted"])
def planted(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS)


def skip(op: str, planted: bool) -> str | None:
    return f"journal.op.{op}.before:1+:skip" if planted else None


def never_ends(node: NodeProcess, pid: str) -> bool:
    try:
        node.result(pid, NEVER)
    except PerdureError as error:
        return error.kind == "Timeout"
    return False


def test_a_dropped_timer(app: Path, planted: bool) -> None:
    with NodeProcess(app, skip("put_timer", planted)) as node:
        pid = node.spawn("app:sleep", HOST)
        node.crash(wall=3601)
        assert never_ends(node, pid) == planted


def test_a_forgotten_activity(app: Path, planted: bool) -> None:
    (app / "hang-call").touch()
    with NodeProcess(app, skip("put_activity", planted)) as node:
        pid = node.spawn("app:call", HOST)
        until(lambda: effects(app))
        node.kill()
        (app / "hang-call").unlink()
        node.crash()
        assert never_ends(node, pid) == planted


def test_a_forgotten_key(app: Path, planted: bool) -> None:
    with NodeProcess(app, skip("put_dedupe", planted)) as node:
        pid = node.spawn("app:listen", HOST)
        node.send(pid, "say", {"n": 1}, key="one")
        node.crash()
        node.send(pid, "say", {"n": 1}, key="one")
        if not planted:
            node.send(pid, "say", {"n": 2})
        assert node.result(pid) == [1, 1 if planted else 2]


def test_a_commit_left_out(app: Path, planted: bool) -> None:
    with NodeProcess(app) as node:
        if planted:
            node.do("arm", fault="journal.commit.before:1+:skip")
        node.spawn("app:listen", HOST)
        node.crash()
        assert (node.do("runs") == []) == planted
