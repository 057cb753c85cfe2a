"""`perdure journal backup | compact | stats | export | import` and `perdure replay`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts.durable import importing, readable
from journal import faults, upkeep
from journal.errors import JournalOwnedError, JournalPathError
from journal.journal import Journal
from journal.unit import Unit
from journal.verify import verify
from runtime.codec import decode, encode
from runtime.errors import PerdureError
from supervision import Node
from tests.cli_lab import perdure
from tests.crash_lab import PATIENCE, NodeProcess, check_journal, effects, until
from tests.durable_lab import HOST, as_main, durable_app, journal_of
from tests.journal_lab import appending, committed, running

WORKFLOWS = {
    "order": """
        local order = ...
        local charged = assert(funcs.call("app:effect", "charge", order.price))
        local timer = time.timer("90h")
        local got = channel.select{timer:channel():case_receive(), process.inbox():case_receive()}
        timer:stop()
        return {charged, got.value.by, uuid.v4() ~= nil}
    """,
    "parent": 'return workflow.exec("app:order", {price = 1})',
    "fails": 'error("by itself")',
}


def filled(path: Path) -> None:
    with Journal.open(path) as journal:
        for run in range(1, 101):
            committed(journal, running(run, status="completed", ended_ns=run))
            committed(journal, appending(run, ["started", os.urandom(50_000)]))
        for run in range(1, 91):
            unit = Unit()
            unit.delete_run(run)
            committed(journal, unit)


def runs(path: Path) -> list[int]:
    with Journal.open(path) as journal:
        assert all(len(journal.history(run)[0][1][1]) == 50_000 for run, _ in journal.runs())
        return [run for run, _ in journal.runs()]


def test_compact_gives_space_back_and_keeps_everything(tmp_path: Path) -> None:
    filled(tmp_path)
    before, after = upkeep.compact(tmp_path)
    assert before > 5_000_000 > 1_000_000 > after
    assert after == (tmp_path / "data.mdb").stat().st_size
    assert runs(tmp_path) == list(range(91, 101))
    assert verify(tmp_path) == []
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "data.mdb",
        "lock.mdb",
        "owner.lock",
    ]
    with Journal.open(tmp_path) as journal:
        assert journal.next_run() == 101
        with pytest.raises(JournalOwnedError):
            upkeep.compact(tmp_path)


@pytest.mark.parametrize("point", ["upkeep.compact.before", "upkeep.compact.after"])
def test_killed_while_it_compacts_all_is_there(tmp_path: Path, point: str) -> None:
    filled(tmp_path)
    child = subprocess.run(
        [sys.executable, "-c", f"from journal import upkeep; upkeep.compact({str(tmp_path)!r})"],
        env={**os.environ, faults.VARIABLE: f"{point}:1"},
        cwd=Path(__file__).parent.parent,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    assert runs(tmp_path) == list(range(91, 101))
    assert verify(tmp_path) == []
    upkeep.compact(tmp_path)
    assert runs(tmp_path) == list(range(91, 101))


def test_a_backup_of_a_journal_that_is_written_to_is_one_state(tmp_path: Path) -> None:
    path, copy = tmp_path / "journal", tmp_path / "copy"
    with Journal.open(path, map_size=128 << 10) as journal:
        answers: list[Exception | None] = []
        for run in range(1, 3001):
            unit = running(run)
            unit.append(run, [["started", os.urandom(500)]])
            journal.submit(unit, answers.append)
        until(lambda: len(answers) > 100)
        script = f"from journal import upkeep; upkeep.backup({str(path)!r}, {str(copy)!r})"
        subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent.parent, check=True)
    assert verify(copy) == []
    with Journal.open(copy) as copied:
        numbers = [run for run, _ in copied.runs()]
        assert len(numbers) > 100
        assert numbers == list(range(1, len(numbers) + 1))
        committed(copied, running(9999))
    with pytest.raises(JournalPathError, match="is not empty"):
        upkeep.backup(path, copy)
    assert perdure("journal", "backup", copy, "--journal", path).returncode == 2


def test_stats(tmp_path: Path) -> None:
    filled(tmp_path)
    with Journal.open(tmp_path) as journal:
        committed(journal, running(200), appending(200, ["started", b"x"]))
        done = perdure("journal", "stats", "--journal", tmp_path, "--json")
    found = json.loads(done.stdout)
    assert found["runs"] == {"completed": 10, "open": 1}
    assert found["databases"]["history"]["rows"] == 11
    assert found["free_bytes"] > 3_000_000
    assert 500_000 <= found["payload_bytes"] < 1_000_000
    shown = perdure("journal", "stats", "--journal", tmp_path).stdout
    assert "10 completed, 1 open" in shown
    assert "payloads" in shown


def make_app(folder: Path) -> Path:
    return durable_app(folder, WORKFLOWS)


def exported(app: Path, run: str, file: Path) -> dict[str, Any]:
    done = perdure("journal", "export", run, "--app", app, "-o", file)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(file.read_text())
    return document


def test_an_export_can_be_read_and_is_a_regression_test(tmp_path: Path) -> None:
    app, file = make_app(tmp_path / "app"), tmp_path / "order.json"
    with NodeProcess(app) as node:
        pid = node.spawn("app:order", HOST, {"price": 2.5}, options={"workflow.id": "order-7"})
        node.send(pid, "approve", {"by": "ann"})
        assert node.result(pid) == ["charge", "ann", True]
        document = exported(app, "order-7", file)
        assert perdure("journal", "export", "nothing", "--app", app).returncode == 1
        node.kill()
    texts = [each["text"] for each in document["history"]]
    assert texts[0] == 'started app:order({"price": 2.5})'
    assert {"$value": [{"by": "ann"}]} in next(
        each["record"] for each in document["history"] if each["record"][0] == "message"
    )
    (source,) = document["sources"].values()
    assert 'funcs.call("app:effect", "charge", order.price)' in source["app:order"]["source"]
    assert perdure("replay", file, app).returncode == 0
    (app / "order.lua").write_text(as_main(WORKFLOWS["order"].replace('"charge"', '"refund"')))
    done = perdure("replay", file, app)
    assert done.returncode == 1
    line = 1 + next(n for n, text in enumerate(as_main(WORKFLOWS["order"]).splitlines())
                    if "app:effect" in text)  # fmt: skip
    assert f"order.lua:{line}" in done.stdout
    assert "recorded" in done.stdout
    told = json.loads(perdure("replay", file, app, "--json").stdout)
    assert (told["fits"], told["recorded"]) == (False, "activity_scheduled 1 app:effect")
    file.write_text("{}")
    assert perdure("replay", file, app).returncode == 2


def test_an_open_run_moves_to_another_journal_and_goes_on(tmp_path: Path) -> None:
    here, there = make_app(tmp_path / "here"), make_app(tmp_path / "there")
    file = tmp_path / "order.json"
    with NodeProcess(here) as node:
        (here / "hang-charge").touch()
        pids = {
            name: node.spawn("app:order", HOST, {"price": 5}, options={"workflow.id": name})
            for name in ("calling", "waiting")
        }
        until(lambda: len(effects(here)) == 2)
        (here / "hang-charge").unlink()
        node.until_recorded(pids["waiting"], "timer_started")
        node.until_recorded(pids["calling"], "timer_started")
        (here / "hang-charge").touch()
        busy = node.spawn("app:order", HOST, {"price": 6}, options={"workflow.id": "busy"})
        node.send(pids["waiting"], "approve", {"by": "ann"}, key="once")
        node.spawn("app:parent", HOST, options={"workflow.id": "parent"})
        until(lambda: len(effects(here)) == 4)
        node.kill()
    for name in ("calling", "waiting", "busy"):
        exported(here, name, file)
        assert perdure("journal", "import", file, "--app", there).returncode == 0
        again = perdure("journal", "import", file, "--app", there)
        assert (again.returncode, "is in this journal already" in again.stderr) == (1, True)
    document = exported(here, "parent", file)
    document["children"].clear()
    file.write_text(json.dumps(document))
    refused = perdure("journal", "import", file, "--app", there)
    assert refused.returncode == 1
    assert "parent waits for children that report to it in the journal" in refused.stderr
    check_journal(there)
    with NodeProcess(there) as node:
        assert node.result(pids["waiting"]) == ["charge", "ann", True]
        node.send(pids["calling"], "approve", {"by": "bob"})
        assert node.result(pids["calling"]) == ["charge", "bob", True]
        until(lambda: len(effects(there)) == 1)
        node.do("advance", seconds=91 * 3600)
        until(lambda: node.row("busy")["status"] != "open")
        exported(there, "waiting", file)
        assert perdure("journal", "import", file, "--app", there).returncode == 2, "it is owned"
        assert busy == "{app:orders|busy}"
        node.kill()
    check_journal(there)


TREE = {
    "leaf": "return process.inbox():receive():topic()",
    "branch": 'return process.exec("app:leaf", "app:orders")',
    "tree": """
        local named = function(id) return process.with_options({["workflow.id"] = id}) end
        for _, id in ipairs{"ends", "ended", "closed"} do
          assert(named(id):spawn_monitored("app:leaf", "app:orders"))
        end
        local heard = {named("branch"):exec("app:branch", "app:orders")}
        for i = 2, 3 do heard[i] = process.events():receive().result.value end
        table.sort(heard)
        return heard
    """,
    "hears": "for i = 1, 2 do process.inbox():receive() end return 'both'",
    "tells": 'local to = ... process.inbox():receive() return process.send(to, "told")',
}


def document_of(app: Path, workflow_id: str) -> Any:
    with journal_of(app) as journal:
        found = upkeep.find_run(journal, workflow_id)
        assert found is not None
        words = {"at": "", "text": ""}
        document = readable.exported(journal, *found, lambda history, row: [words] * len(history))
    return json.loads(json.dumps(document))


def bring(app: Path, document: Any) -> None:
    with journal_of(app) as journal:
        journal.commit(importing.unit_of(journal, readable.Imported(document))[1])


@contextmanager
def working(app: Path) -> Iterator[Node]:
    with Node.from_path(app) as node:
        yield node
    check_journal(app)


def start(node: Node, entry: str, workflow_id: str, *args: Any) -> str:
    return node.spawn(f"app:{entry}", HOST, *args, options={"workflow.id": workflow_id})


def test_a_run_moves_with_the_children_that_it_waits_for(tmp_path: Path) -> None:
    here, there = (durable_app(tmp_path / name, TREE) for name in ("here", "there"))
    with working(there) as node:
        for n in range(3):
            start(node, "leaf", f"other {n}")
    with working(here) as node:
        tree = start(node, "tree", "tree")
        until(lambda: len(node.workflows(open=True)) == 6)
        (leaf,) = (row["workflow_id"] for row in node.workflows('entry = "app:leaf"')
                   if row["workflow_id"] not in ("ends", "ended", "closed"))  # fmt: skip
    document = document_of(here, "tree")
    with working(here) as node:
        node.send("ended", "before the move")
        until(lambda: len(node.workflows('status = "completed"')) == 1)
    # As if it had ended before the move, and its parent had not heard of it.
    children = {each["run"]["workflow_id"]: each for each in document["children"]}
    children["ended"] = document_of(here, "ended")
    document["children"] = list(children.values())
    bring(there, document)
    with working(there) as node:
        assert len(node.workflows(open=True)) == 3 + 5
        node.send("ends", "after it")
        node.send(leaf, "below")
        assert node.result(tree, PATIENCE) == ["after it", "before the move", "below"]
        until(lambda: node.workflows('workflow_id = "closed"')[0]["status"] == "terminated")
        assert len(node.workflows()) == 3 + 6
    with pytest.raises(PerdureError, match="is in this journal already"):
        bring(there, document)


def test_what_was_sent_to_a_run_before_it_moved_is_no_message_of_the_new_journal(
    tmp_path: Path,
) -> None:
    """Messages between runs are told apart by the sender's number, and there it is another's."""
    here, there = (durable_app(tmp_path / name, TREE) for name in ("here", "there"))
    for app in (here, there):
        with working(app) as node:
            start(node, "tells", "tells", f"{{{HOST}|hears}}")
            if app == here:
                start(node, "hears", "hears")
                node.send("tells", "go")
                assert node.result(f"{{{HOST}|tells}}", PATIENCE) is True
    bring(there, document_of(here, "hears"))
    with working(there) as node:
        node.send("tells", "go")
        assert node.result(f"{{{HOST}|tells}}", PATIENCE) is True
        assert node.result(f"{{{HOST}|hears}}", PATIENCE) == "both"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text()
    | st.binary() | st.just(PerdureError("Conflict", "it is", False, {"a": [1]}, trace="t")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(0, 99), inner),
    max_leaves=20,
)  # fmt: skip


@given(values)
def test_every_payload_comes_back_byte_for_byte(value: Any) -> None:
    try:
        payload = encode(value)
    except PerdureError:  # two keys that are one in Lua
        return
    record = ["message", "topic", "", payload, {"$odd": payload, "nested": [payload, {1: "x"}]}]
    written = json.loads(json.dumps(readable.to_json(record)))
    assert readable.from_json(written) == record
    assert repr(decode(readable.from_json(written)[3])) == repr(decode(payload))


def test_a_failure_is_exported_and_replayed(tmp_path: Path) -> None:
    app, file = make_app(tmp_path / "app"), tmp_path / "fails.json"
    with NodeProcess(app) as node:
        pid = node.spawn("app:fails", HOST, options={"workflow.id": "fails"})
        with pytest.raises(PerdureError, match="by itself"):
            node.result(pid)
        node.kill()
    document = exported(app, "fails", file)
    assert document["run"]["status"] == "failed"
    assert perdure("replay", file, app).returncode == 0
