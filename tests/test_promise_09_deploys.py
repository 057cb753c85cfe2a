"""Promise 9: a deploy breaks no run: what new code would break is told before, and pinned runs move
to it when it fits.

`perdure check --journal` and `perdure workflows migrate` are for the journal only. On a server runs
move when their entry is deployed with `versioning: latest`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.both_hosts import TEMPORAL, Host, only_on
from tests.cli_lab import perdure, running
from tests.crash_lab import NodeProcess, check_journal, effects, until
from tests.durable_lab import HOST, ON_A_JOURNAL, as_main, durable_app, journal_of

OLD = """
  local msg = process.inbox():receive()
  funcs.call("app:effect", "old", msg.n)
  local last = process.inbox():receive()
  return {"old", last.n}
"""
FITS = """
  local msg = process.inbox():receive()
  funcs.call("app:effect", "old", msg.n)
  local last = process.inbox():receive()
  return {"new", last.n * 10}
"""
BREAKS = """
  local msg = process.inbox():receive()

  funcs.call("app:other", "old", msg.n)
  local last = process.inbox():receive()
  return {"new", last.n}
"""
FUNCTIONS = """
def other(*args):
    return record("other", *args)
"""


LATEST = ", versioning: latest"


def make_app(folder: Path, source: str, fields: str = "", host: Host = ON_A_JOURNAL) -> Path:
    workflows = {f"order{fields}": source, "idle": "process.inbox():receive()"}
    return durable_app(folder, workflows, FUNCTIONS, ("other",), host=host)


def three_runs(app: Path) -> list[str]:
    """Of three runs one waits at its beginning, one after its first call, one has ended."""
    with NodeProcess(app) as node:
        pids = [
            node.spawn("app:order", HOST, options={"workflow.id": name})
            for name in ("begun", "called", "ended")
        ]
        for pid in pids[1:]:
            node.send(pid, "first", {"n": 1})
            node.until_recorded(pid, "activity_completed")
        node.send(pids[2], "last", {"n": 2})
        assert node.result(pids[2]) == ["old", 2]
        node.kill()
    return pids


def checked(app: Path, journal: Path, *options: str) -> tuple[int, dict[str, Any]]:
    before = (journal / "data.mdb").read_bytes()
    done = perdure("check", app, "--journal", journal, "--json", *options)
    assert (journal / "data.mdb").read_bytes() == before, "it is only read"
    result: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, result


@pytest.mark.parametrize("fields", ["", LATEST])
def test_check_tells_which_open_runs_would_break_and_where(tmp_path: Path, fields: str) -> None:
    app = make_app(tmp_path / "app", OLD, fields)
    three_runs(app)
    journal = app / "data/journal"
    for source, broken in ((OLD, []), (FITS, []), (BREAKS, ["called"])):
        new = make_app(tmp_path / "new", source, fields)
        code, result = checked(new, journal)
        runs = {row["workflow_id"]: row for row in result["runs"]}
        assert sorted(runs) == ["begun", "called"], "ended runs do not count"
        assert [name for name, row in sorted(runs.items()) if not row["fits"]] == broken
        assert (code, result["ok"]) == (int(bool(broken)), not broken)
    line = 1 + as_main(BREAKS).splitlines().index('  funcs.call("app:other", "old", msg.n)')
    assert runs["called"]["source"].endswith(f"order.lua:{line}")
    assert runs["called"]["recorded"] == "activity_scheduled 1 app:effect"
    assert runs["called"]["attempted"] == "activity_scheduled 1 app:other"
    told = perdure("check", new, "--journal", journal)
    assert told.returncode == 1
    assert "2 open runs, 1 fit this code" in told.stdout
    assert "the history has activity_scheduled 1 app:effect, the code did" in told.stdout
    assert ("pinned to" in told.stdout) == (not fields)
    assert ("is parked" in told.stdout) == bool(fields)
    check_journal(app)


def test_check_tells_of_functions_and_entries_that_are_gone(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app", OLD)
    (app / "hang-old").touch()
    with NodeProcess(app) as node:
        pid = node.spawn("app:order", HOST, options={"workflow.id": "waits"})
        node.spawn("app:idle", HOST, options={"workflow.id": "idle"})
        node.send(pid, "first", {"n": 1})
        until(lambda: effects(app))
        node.kill()
    config = app / "app.yaml"
    kept = [
        line
        for line in config.read_text().splitlines()
        if not line.startswith(("- {name: effect", "- {name: idle"))
    ]
    config.write_text("\n".join(kept))
    code, result = checked(app, app / "data/journal")
    assert code == 1
    runs = {row["workflow_id"]: row for row in result["runs"]}
    assert runs["waits"]["pending"] == ["app:effect"]
    assert runs["waits"]["problem"] == ""
    assert runs["idle"]["problem"] == "app:idle is not there any more"
    told = perdure("check", app, "--journal", app / "data/journal").stdout
    assert "waits for app:effect: not there any more" in told


def test_check_does_not_disturb_a_node(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app", OLD)
    with NodeProcess(app) as node:
        pid = node.spawn("app:order", HOST)
        done = perdure("check", app, "--journal", app / "data/journal")
        assert "1 open runs, 1 fit this code" in done.stdout
        node.send(pid, "first", {"n": 1})
        node.send(pid, "last", {"n": 2})
        assert node.result(pid) == ["old", 2]
        node.stop()
    assert perdure("check", app, "--journal", tmp_path / "nothing").returncode == 2


def deploy(app: Path, source: str) -> None:
    (app / "order.lua").write_text(as_main(source))


def migrate(app: Path, *args: str) -> tuple[int, dict[str, dict[str, Any]]]:
    done = perdure("workflows", "migrate", *args, "--to", "latest", "--app", app, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {row["workflow_id"]: row for row in rows}


def test_pinned_runs_move_to_code_that_fits(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app", OLD)
    begun, called, _ = three_runs(app)
    deploy(app, FITS)
    with running(app):
        code, rows = migrate(app, "called", "--entry", "app:order")
        assert code == 0
        assert [(row["workflow_id"], row["moved"]) for row in rows.values()] == [("called", True)]
        code, rows = migrate(app, "called")
        assert (code, rows["called"]["why"]) == (0, "it runs what is deployed")
        assert migrate(app, "nothing") == (1, {})
    with NodeProcess(app) as live:
        assert live.kinds(called)[-1] == "migrated"
        live.send(called, "last", {"n": 2})
        assert live.result(called) == ["new", 20], "it kept its move over a boot"
        for n in (1, 2):
            live.send(begun, "n", {"n": n})
        assert live.result(begun) == ["old", 2], "it was not asked to move"
        live.kill()
    assert [effect.function for effect in effects(app)] == ["old", "old", "old"]
    check_journal(app)


def test_runs_that_do_not_fit_stay_and_are_reported(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app", OLD)
    begun, called, _ = three_runs(app)
    deploy(app, BREAKS)
    with running(app):
        code, rows = migrate(app)
        assert code == 1
        assert {name: row["moved"] for name, row in rows.items()} == {
            "begun": True,
            "called": False,
        }
        assert "the history has activity_scheduled 1 app:effect" in rows["called"]["why"]
        done = perdure("workflows", "migrate", "--to", "latest", "--app", app)
        assert done.returncode == 1
        assert "the history has" in done.stdout
    with NodeProcess(app) as live:
        live.send(called, "last", {"n": 2})
        assert live.result(called) == ["old", 2]
        for n in (1, 2):
            live.send(begun, "n", {"n": n})
        assert live.result(begun) == ["new", 2]
        live.kill()
    check_journal(app)


@only_on(TEMPORAL, "runs of a journal are moved by a command")
def test_pinned_runs_move_when_their_entry_is_deployed_as_latest(
    tmp_path: Path, host: Host
) -> None:
    app = make_app(tmp_path / "app", OLD, host=host)
    begun, called, _ = three_runs(app)
    make_app(app, BREAKS, LATEST, host)
    with NodeProcess(app) as node:
        node.send(called, "last", {"n": 2})
        until(lambda: node.shown("called")["status"] == "suspended")
        node.kill()
    make_app(app, FITS, LATEST, host)
    with NodeProcess(app) as node:
        for n in (1, 2):
            node.send(begun, "n", {"n": n})
        for pid in (begun, called):
            assert node.result(pid) == ["new", 20]
    assert [effect.function for effect in effects(app)] == ["old", "old", "old"]
    host.check(app)


def test_a_parked_pinned_run_goes_on_when_code_that_fits_is_loaded(
    tmp_path: Path, host: Host
) -> None:
    """On a server as `latest`: pinned, it tries no other code than its own."""
    parks = ", on_error: suspend"
    app = make_app(tmp_path / "app", OLD.replace("return", 'error("oh") return'), parks, host)
    with NodeProcess(app) as node:
        pid = node.spawn("app:order", HOST, options={"workflow.id": "parked"})
        for n in (1, 2):
            node.send(pid, "n", {"n": n})
        until(lambda: node.shown("parked")["status"] == "suspended")
        node.kill()
    if host.server is None:
        deploy(app, BREAKS)
        with NodeProcess(app) as node:
            until(lambda: (app / "node.log").read_text().count("is suspended") == 2)
            until(lambda: node.shown("parked")["status"] == "suspended")
            node.kill()
    make_app(app, FITS, parks if host.server is None else parks + LATEST, host)
    with NodeProcess(app) as node:
        assert node.result(pid) == ["new", 20]
        node.kill()
    host.check(app)
    assert [effect.function for effect in effects(app)] == ["old"]


@pytest.mark.parametrize("point", ["journal.commit.before", "journal.commit.after"])
def test_a_move_that_is_killed_is_done_or_not(tmp_path: Path, point: str) -> None:
    app = make_app(tmp_path / "app", OLD)
    _, called, _ = three_runs(app)
    deploy(app, FITS)
    with NodeProcess(app) as node:
        node.do("arm", fault=f"{point}:1")
        node.ask("migrate", pid=called)
        node.wait_dead()
    check_journal(app)
    with journal_of(app) as journal:
        run = journal.run_of("called")
        assert run is not None
        moved = [record[0] for _, record in journal.history(run)][-1] == "migrated"
        row = journal.run(run)
        assert row is not None
        assert bool(row.extra) == moved == (point == "journal.commit.after")
    with NodeProcess(app) as node:
        node.send(called, "last", {"n": 2})
        assert node.result(called) == (["new", 20] if moved else ["old", 2])
