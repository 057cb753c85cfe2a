"""Promise 12: a bad record hurts one run, which is quarantined and named; the others go on. For the
journal only: a server looks after its own database."""

from __future__ import annotations

from pathlib import Path

import pytest

from journal.verify import verify
from tests.crash_lab import NodeProcess
from tests.durable_lab import HOST, durable_app

WORKFLOWS = {
    "listen": """
        local marker = ...
        funcs.call("app:effect", marker)
        return process.inbox():receive().said
    """,
}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", WORKFLOWS)


def flip(app: Path, text: bytes) -> None:
    """Flip one bit in every place of the journal that holds `text`."""
    data = app / "data/journal/data.mdb"
    whole = data.read_bytes()
    assert text in whole
    data.write_bytes(whole.replace(text, bytes([text[0] ^ 1]) + text[1:]))


def test_the_run_is_quarantined_and_the_others_go_on(app: Path) -> None:
    with NodeProcess(app) as node:
        pids = {
            name: node.spawn("app:listen", HOST, f"marker-of-{name}", options={"workflow.id": name})
            for name in ("hurt", "one", "two")
        }
        for pid in pids.values():
            node.until_recorded(pid, "activity_completed")
        node.kill()
    flip(app, b"marker-of-hurt")
    assert {finding.problem for finding in verify(app / "data/journal")} == {
        "its checksum does not match"
    }
    with NodeProcess(app) as node:
        for name in ("hurt", "one", "two"):
            node.send(pids[name], "say", {"said": name})
        assert node.result(pids["one"]) == "one"
        assert node.result(pids["two"]) == "two"
        assert node.row("hurt")["status"] in ("open", "suspended")
        log = (app / "node.log").read_text(encoding="utf-8")
        assert "{app:orders|hurt} is quarantined" in log
        assert "history" in log
        node.do("terminate", pid=pids["hurt"])
        assert node.row("hurt")["status"] == "terminated"
        fresh = node.spawn("app:listen", HOST, "again", options={"workflow.id": "hurt"})
        node.send(fresh, "say", {"said": "well"})
        assert node.result(fresh) == "well"
