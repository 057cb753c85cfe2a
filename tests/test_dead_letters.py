"""A message that found nobody can be seen and counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.clock import SystemClock
from runtime.errors import Kind, PerdureError
from runtime.routing.dead_letters import KEPT, DeadLetters
from supervision import Node
from tests.cli_lab import APP, perdure, write
from tests.cli_lab import running as command_running
from tests.durable_lab import HOST, durable_app
from tests.process_lab import PATIENCE, process, running


def test_dead_letters_can_be_seen(tmp_path: Path) -> None:
    sender = process("""
        local gone = ...
        process.send(gone, "one", 1)
        process.send("nobody", "two", 2)
        process.send("{app:nowhere|1}", "three", 3)
        return process.pid()
    """)
    entries = {"sender": sender, "short": process("return 1")}
    with running(tmp_path, entries) as node:
        gone = node.spawn("app:short", "app:one")
        assert node.result(gone, PATIENCE) == 1
        assert node.dead_letters() == []
        pid = node.result(node.spawn("app:sender", "app:one", gone), PATIENCE)
        with pytest.raises(PerdureError):
            node.send(gone, "four")
        letters = node.dead_letters()
        assert [(each["to"], each["topic"], each["from"]) for each in letters] == [
            (gone, "four", ""),
            ("{app:nowhere|1}", "three", pid),
            ("nobody", "two", pid),
            (gone, "one", pid),
        ]
        assert node.status()["dead_letters"] == 4
        assert str(letters[0]["at"]) >= str(letters[3]["at"]) > "2025"


def test_messages_to_workflows_that_are_over_are_dead_letters(tmp_path: Path) -> None:
    app = durable_app(tmp_path / "app", {"short": "return 1"})
    with Node.from_path(app) as node:
        pid = node.spawn("app:short", HOST)
        assert node.result(pid, PATIENCE) == 1
        with pytest.raises(PerdureError, match="has ended") as error:
            node.send(pid, "late")
        assert error.value.kind == Kind.NOT_FOUND
        assert [(each["to"], each["topic"]) for each in node.dead_letters()] == [(pid, "late")]


def test_only_the_latest_are_kept_and_all_are_counted() -> None:
    letters = DeadLetters(SystemClock())
    for number in range(KEPT + 5):
        letters.add("nobody", f"t{number}", "")
    assert letters.count == KEPT + 5
    latest = letters.latest()
    assert len(latest) == KEPT
    assert (latest[0].topic, latest[-1].topic) == (f"t{KEPT + 4}", "t5")


def test_the_command_shows_them(tmp_path: Path) -> None:
    app = write(tmp_path / "app", APP)
    with command_running(app):
        quiet = perdure("ps", "--app", app)
        assert "found nobody" not in quiet.stderr
        assert perdure("send", "nobody", "hello", "--app", app).returncode == 1
        assert "1 messages found nobody: perdure dead-letters" in perdure("ps", "--app", app).stderr
        shown = perdure("dead-letters", "--app", app).stdout.splitlines()
        assert shown[0].split() == ["AT", "TO", "TOPIC", "FROM"]
        assert shown[1].split()[2:] == ["nobody", "hello", "outside"]
        row = json.loads(perdure("dead-letters", "--app", app, "--json").stdout)
        assert (row["to"], row["topic"], row["from"]) == ("nobody", "hello", "")
