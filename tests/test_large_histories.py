"""Long histories are replayed bite by bite; a run that cannot be replayed can still be ended."""

from __future__ import annotations

from pathlib import Path

import lmdb
import pytest

from journal import keys
from journal.verify import verify
from runtime.errors import Kind, PerdureError
from supervision import Node
from supervision.lmdb_service import LmdbService
from tests.crash_lab import NodeProcess, check_journal, until
from tests.durable_lab import HOST, durable_app, journal_of

WORKFLOWS = {
    "long": """
        local sum = 0
        for i = 1, (...) do sum = assert(funcs.call("app:plus", sum, 1)) end
        local last = process.inbox():receive().n
        return {sum, last, workflow.history_length()}
    """,
    "measured": """
        local seen = {}
        local function note()
          seen[#seen + 1] = {workflow.history_length(), workflow.history_size()}
        end
        note()
        for i = 1, 3 do
          process.inbox():receive()
          note()
        end
        assert(funcs.call("app:plus", 1, 2))
        note()
        return seen
    """,
    "wide": """
        local total = 0
        for i = 1, (...) do total = total + #assert(funcs.call("app:make", 1000000, i)) end
        process.inbox():receive()
        return total
    """,
    "busy": """
        funcs.async("app:effect", "call")
        time.after("90h")
        process.inbox():receive()
        funcs.call("app:effect", "call")
    """,
    "greedy": """
        local ballast = {}
        process.inbox():receive()
        for i = 1, 20000 do ballast[i] = {i, tostring(i)} end
        process.inbox():receive()
        return #ballast
    """,
}
FUNCTIONS = """
def make(size, n):
    return str(n % 10) * size
"""
PLUS = """
- {name: plus, kind: function.lua, source: "local a, b = ...; return a + b"}
"""


def make_app(folder: Path) -> Path:
    return durable_app(folder, WORKFLOWS, FUNCTIONS, ("make",), PLUS)


def until_length(node: Node, length: int) -> None:
    """Wait until the history of the first run has so many records."""
    service = node.parts.services["app:journal"]
    assert isinstance(service, LmdbService)
    journal = service.opened()
    until(lambda: journal.last_seq(1) >= length, patience=100)


def test_a_long_history_is_rebuilt(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app")
    with Node.from_path(app) as node:
        pid = node.spawn("app:long", HOST, 5000)
        until_length(node, 15001)
    with Node.from_path(app) as node:
        assert node.workflow_hosts()[0].live == 0
        node.send(pid, "n", {"n": 7})
        sum_, last, length = node.result(pid, 30)
        assert (sum_, last) == (5000, 7)
        assert length == len(node.workflow_hosts()[0].history(1)) - 2
    check_journal(app)


def test_its_length_and_size_are_the_same_live_and_replayed(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app")
    seen = []
    for crash in (False, True):
        with NodeProcess(app) as node:
            pid = node.spawn("app:measured", HOST)
            for n in range(3):
                node.send(pid, "n", {"n": n})
                if crash:
                    node.crash()
            seen.append(node.result(pid))
            node.kill()
    # A crash may add an attempt to what comes after.
    assert seen[0][:4] == seen[1][:4]


def test_a_wide_history_fits_through_a_small_vm(tmp_path: Path) -> None:
    """Its payloads are 60 MB, its VM may have 30."""
    app = make_app(tmp_path / "app")
    limits = ["app:orders:limits.memory=30MB"]
    with Node.from_path(app, limits) as node:
        pid = node.spawn("app:wide", HOST, 60)
        until_length(node, 181)
    with Node.from_path(app, limits) as node:
        node.send(pid, "n", {"n": 7})
        assert node.result(pid, 60) == 60_000_000


def hurt(app: Path, database: bytes, run: int) -> None:
    """Flip a bit in every row of a run."""
    with lmdb.open(str(app / "data/journal"), max_dbs=32) as env:
        handle = env.open_db(database)
        with env.begin(write=True, db=handle) as txn:
            for key, data in list(txn.cursor()):
                if bytes(key)[:8] == keys.one(run):
                    txn.put(key, data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize("what", [b"history", b"runs"])
def test_a_run_that_is_hurt_can_be_ended(tmp_path: Path, what: bytes) -> None:
    app = make_app(tmp_path / "app")
    (app / "hang-call").touch()
    with NodeProcess(app) as node:
        pid = node.spawn("app:busy", HOST, options={"workflow.id": "hurt"})
        other = node.spawn("app:long", HOST, 1, options={"workflow.id": "other"})
        until(lambda: (app / "effects.jsonl").exists())
        node.kill()
    hurt(app, what, 1)
    with NodeProcess(app) as node:
        if what == b"history":
            node.send(pid, "kept", {"n": 1})
        else:
            with pytest.raises(PerdureError, match=r"record 0+1 in runs of run 1: its checksum"):
                node.send(pid, "refused", {"n": 1})
        node.do("terminate", pid=pid)
        with pytest.raises(PerdureError, match="process terminated") as caught:
            node.result(pid)
        assert caught.value.kind == Kind.CANCELED
        node.send(other, "n", {"n": 7})
        assert node.result(other)[:2] == [1, 7]
        node.crash()
        assert node.row("hurt")["status"] == "terminated"
        node.kill()
    left = [finding for finding in verify(app / "data/journal") if finding.db != "history"]
    assert left == [], "no timer, activity or message is left of it"


def test_a_run_whose_replay_fills_the_vm_is_parked_and_can_be_ended(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app")
    with NodeProcess(app) as node:
        pids = [
            node.spawn(f"app:{entry}", HOST, 1, options={"workflow.id": entry})
            for entry in ("greedy", "long")
        ]
        node.send(pids[0], "go")
        node.kill()
    config = app / "app.yaml"
    small = "  limits: {memory: 2500KB}\n"
    config.write_text(config.read_text().replace("workers: 1\n", f"workers: 1\n{small}", 1))
    with NodeProcess(app) as node:
        node.send(pids[0], "go")
        until(lambda: node.row("greedy")["status"] == "suspended")
        node.send(pids[1], "n", {"n": 3})
        assert node.result(pids[1])[:2] == [1, 3], "others go on"
        node.do("terminate", pid=pids[0])
        assert node.row("greedy")["status"] == "terminated"
        node.kill()
    check_journal(app)


def test_ending_a_run_replays_nothing(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app")
    (app / "hang-call").touch()
    with NodeProcess(app) as node:
        pid = node.spawn("app:busy", HOST, options={"workflow.id": "busy"})
        until(lambda: (app / "effects.jsonl").exists())
        node.kill()
    (app / "busy.lua").write_text("while true do end")
    with NodeProcess(app) as node:
        node.do("terminate", pid=pid)
        assert node.row("busy")["status"] == "terminated"
        node.kill()
    with journal_of(app) as journal:
        assert journal.timers_due() == []
        assert list(journal.activities()) == []
    check_journal(app)
