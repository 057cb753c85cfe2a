"""Promise 16: upgrading Perdure breaks no run: journals and histories of every version go on.

tests/data/journals has what each format's Perdure left behind when it was killed (old_journals.py).
A file, once there, stays as it is. They are for the journal only: a server keeps histories in a
format of its own, and the machine that replays them is the same.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import lmdb
import pytest

from hosts.durable.records import Record
from journal import keys
from journal.databases import ACTIVITIES, BUSY, DATABASES, META
from journal.encoding import decode, encode
from journal.files import FORMAT_VERSION, IDENTITY
from journal.journal import Journal
from journal.unit import Unit
from journal.upkeep import backup
from journal.verify import verify
from runtime.lua.machine import MACHINE_VERSION
from supervision import Node
from tests.cli_lab import perdure
from tests.crash_lab import NodeProcess, NodeRefused, check_journal
from tests.durable_lab import HOST, durable_app
from tests.old_journals import LAST, PAST, REST, WORKFLOWS, write_app
from tests.process_lab import PATIENCE, eventually
from tests.replay_lab import misfits

KEPT = Path(__file__).parent / "data/journals"
#: One of each format, and one of each machine since the first.
JOURNALS = [
    *(f"format-{n}" for n in range(1, FORMAT_VERSION + 1)),
    *(f"machine-{n}" for n in range(2, MACHINE_VERSION + 1)),
]
EXPORT = KEPT / "waiting.json"


def left_by(journal_of: str, folder: Path, workflows: dict[str, str] = WORKFLOWS) -> Path:
    """An application with the journal that an older Perdure left."""
    app = write_app(folder / "app", workflows)
    journal = app / "data/journal"
    journal.mkdir(parents=True)
    data = gzip.decompress((KEPT / f"{journal_of}.mdb.gz").read_bytes())
    (journal / "data.mdb").write_bytes(data)
    return app


def test_every_format_and_version_of_the_machine_is_kept() -> None:
    """A new one: `python -m tests.old_journals tests/data/journals/format-N.mdb.gz`."""
    assert sorted(KEPT.glob("*.gz")) == [KEPT / f"{name}.mdb.gz" for name in JOURNALS]


@pytest.mark.parametrize("older", JOURNALS)
def test_runs_of_an_older_perdure_go_on_with_their_code(older: str, tmp_path: Path) -> None:
    deployed = {**dict.fromkeys(WORKFLOWS, 'return "the code of now"'), "child": WORKFLOWS["child"]}
    app = left_by(older, tmp_path, deployed)
    with NodeProcess(app) as node:
        for name in ("waiting", "parent"):
            node.send(f"{{app:orders|{name}}}", "n", {"n": 5})
        for name, rest in REST.items():
            result = node.result(f"{{app:orders|{name}}}")
            assert result == [*PAST, *rest], name
        failed = node.row("failed")
        assert failed["status"] == "failed"
        assert node.spawn("app:ended", "app:orders", 7, key="ended") == "{app:orders|ended}"
        assert node.result(node.spawn("app:ended", "app:orders")) == "the code of now"
        node.stop()
    assert (app / "effects").read_text() == "busy 2\n"
    check_journal(app)


@pytest.mark.parametrize("older", JOURNALS)
def test_old_histories_replay_to_the_same_commands(older: str, tmp_path: Path) -> None:
    app = left_by(older, tmp_path)
    count, differ = misfits(app)
    assert (count, differ) == (len(LAST) + 1, {})
    check_journal(app)


def history(node: Node) -> list[tuple[int, Record]]:
    host = node.workflow_hosts()[0]
    return host.history(host.run("polls")[0])


POLLS = """
    local funcs, time = require("funcs"), require("time")
    local call, told = funcs.async("app:effect", "one"):response(), 0
    while true do
      local got = channel.select{call:case_receive(), process.inbox():case_receive()}
      if got.channel ~= call then return told end
      told = told + 1
      if told == 3 then return "closed" end
    end
"""


@pytest.mark.parametrize("machine", [1, 2])
def test_the_channel_of_a_future_is_what_it_was_when_a_run_began(
    machine: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first machine left it open behind its value; a run that asks again waits there."""
    app = durable_app(tmp_path, {"polls": POLLS})
    monkeypatch.setattr("hosts.durable.beginnings.MACHINE_VERSION", machine)
    with Node.from_path(app) as node:
        pid = node.spawn("app:polls", HOST, options={"workflow.id": "polls"})
        if machine == 1:
            eventually(lambda: [kind for _, (kind, *_) in history(node)].count("step") == 2)
        else:
            assert node.result(pid, PATIENCE) == "closed"
    assert misfits(app) == (1, {})
    if machine == 1:
        with Node.from_path(app) as node:
            node.send(pid, "go on")
            assert node.result(pid, PATIENCE) == 1


def test_an_export_of_the_first_format_replays(tmp_path: Path) -> None:
    assert json.loads(EXPORT.read_text(encoding="utf-8"))["version"] == 1
    done = perdure("replay", EXPORT, write_app(tmp_path / "app", WORKFLOWS))
    assert done.returncode == 0, done.stderr
    assert "13 records, as app:waiting does it now" in done.stdout


def test_a_change_that_would_break_old_histories_is_seen(tmp_path: Path) -> None:
    changed = {name: source.replace('"2ms"', '"3ms"') for name, source in WORKFLOWS.items()}
    _, differ = misfits(left_by("format-1", tmp_path, changed))
    assert sorted(differ) == sorted(f"app:{name}" for name in LAST)
    done = perdure("replay", EXPORT, tmp_path / "app")
    assert done.returncode == 1
    assert "timer_started" in done.stdout + done.stderr


TWO_AND_ONE = """
local one, two = funcs.async("app:effect", "one"), funcs.async("app:effect", "two")
one:response():receive()
local three = funcs.async("app:effect", "three")
two:response():receive()
return three:response():receive():data()
"""


def make_format_3(folder: Path, busy: tuple[tuple[int, int], ...] = ()) -> None:
    """Write a journal as format 3 had it: a row of each pending activity, and no marks."""
    with lmdb.open(str(folder), max_dbs=32) as env:
        meta, rows, marks = (
            env.open_db(DATABASES[db].name.encode()) for db in (META, ACTIVITIES, BUSY)
        )
        with env.begin(write=True) as txn:
            identity = decode(META, IDENTITY, txn.get(IDENTITY, db=meta) or b"")
            txn.put(IDENTITY, encode(IDENTITY, (3, *identity[1:])), db=meta)
            txn.drop(marks, delete=True)
            for place in busy:
                key = keys.two(*place)
                txn.put(key, encode(key, (1, 0, None)), db=rows)


def test_a_run_that_was_busy_before_the_upgrade_keeps_what_it_calls_after_it(
    tmp_path: Path,
) -> None:
    app = durable_app(tmp_path, {"flow": TWO_AND_ONE})
    for name in ("one", "two", "three"):
        (app / f"hang-{name}").touch()
    with NodeProcess(app) as node:
        pid = node.spawn("app:flow", HOST)
        node.until_recorded(pid, "activity_scheduled", 2)
    make_format_3(app / "data/journal", busy=((1, 1), (1, 2)))
    check_journal(app)
    backup(app / "data/journal", tmp_path / "copy")
    assert verify(tmp_path / "copy") == []
    for name in ("one", "two"):
        (app / f"hang-{name}").unlink()
    with NodeProcess(app) as node:
        node.until_recorded(pid, "activity_scheduled", 3)
        node.until_recorded(pid, "activity_completed", 2)
        node.crash()
        (app / "hang-three").unlink()
        assert node.result(pid) == "three"
        node.stop()
    check_journal(app)


def test_a_journal_without_a_free_page_is_upgraded(tmp_path: Path) -> None:
    """One that was compacted, and is larger than the map that a node begins with."""
    size, whole, compact = 1 << 20, tmp_path / "whole", tmp_path / "compact"
    with Journal.open(whole, map_size=size) as journal:
        unit = Unit()
        for number in range(400):
            unit.put_name(f"{number}", "x" * 3000)
        journal.commit(unit)
    make_format_3(whole)
    compact.mkdir()
    with lmdb.open(str(whole), max_dbs=32) as env:
        env.copy(str(compact), compact=True)
    assert (compact / "data.mdb").stat().st_size > size
    with Journal.open(compact, map_size=size) as journal:
        assert journal.name("399") == "x" * 3000
    assert verify(compact) == []


def test_a_journal_of_a_newer_perdure_is_refused_by_name(tmp_path: Path) -> None:
    app = left_by(f"format-{FORMAT_VERSION}", tmp_path)
    with lmdb.open(str(app / "data/journal"), max_dbs=32) as env:
        meta = env.open_db(DATABASES[META].name.encode())
        with env.begin(write=True) as txn:
            identity = (FORMAT_VERSION + 1, "a journal", 0)
            txn.put(IDENTITY, encode(IDENTITY, identity), db=meta)
    before = (app / "data/journal/data.mdb").read_bytes()
    with pytest.raises(NodeRefused, match=f"has format {FORMAT_VERSION + 1}, .* newer Perdure"):
        NodeProcess(app)
    assert (app / "data/journal/data.mdb").read_bytes() == before
