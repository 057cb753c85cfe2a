"""Promise 8: code that no longer gives the recorded commands is found, and its run parked unharmed.

Promise 9, as far as sources go: a run finishes on the source it started on.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash_lab import NodeProcess, check_journal, effects, until
from tests.durable_lab import HOST, as_main, durable_app

OLD = """
  local msg = process.inbox():receive()
  funcs.call("app:effect", "old", msg.n)
  local last = process.inbox():receive()
  return {"old", last.n}
"""
# Deploys of "order": name -> code whose replay differs from OLD once the first message is in.
CHANGES = {
    "another function": OLD.replace("app:effect", "app:other"),
    "other arguments": OLD.replace('"old", msg.n', '"new", msg.n'),
    "another kind": OLD.replace('funcs.call("app:effect", "old", msg.n)', 'time.sleep("1s")'),
    "nothing": OLD.replace('funcs.call("app:effect", "old", msg.n)', ""),
    "one more": OLD.replace(
        "local last", 'coroutine.spawn(function() time.sleep("1s") end) local last'
    ),
    "an end": OLD.replace("local last = process.inbox():receive()", "local last = {}"),
    "a failure": OLD.replace("local last", 'error("new bug") local last'),
}
COMPATIBLE = OLD.replace('return {"old", last.n}', 'return {"new", last.n * 10}')
ID = {"workflow.id": "run"}


def make_app(tmp_path: Path, fields: str) -> Path:
    return durable_app(tmp_path / "app", {f"order{fields}": OLD})


def log(app: Path) -> str:
    return (app / "node.log").read_text(encoding="utf-8")


def deploy(app: Path, body: str) -> None:
    (app / "order.lua").write_text(as_main(body), encoding="utf-8")


def start_and_crash(app: Path) -> tuple[str, list[list[object]]]:
    with NodeProcess(app) as node:
        pid = node.spawn("app:order", HOST, options=ID)
        node.send(pid, "first", {"n": 1})
        node.until_recorded(pid, "activity_completed")
        history = node.history(pid)
        node.kill()
    return pid, history


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_does_not_fit_parks_the_run(tmp_path: Path, change: str) -> None:
    app = make_app(tmp_path, ", versioning: latest")
    pid, history = start_and_crash(app)
    deploy(app, CHANGES[change])
    with NodeProcess(app) as node:
        node.send(pid, "last", {"n": 2})
        until(lambda: node.row("run")["status"] == "suspended")
        parked = node.history(pid)
        problem = node.row("run")["extra"]["problem"]
        assert parked[: len(history)] == history
        assert [record[0] for record in parked[len(history) :]] == ["message"]
        assert "the history has" in problem
        assert "the code did" in problem
        if change == "another function":
            assert "activity_scheduled 1 app:effect" in problem, "what was recorded"
            assert "activity_scheduled 1 app:other" in problem, "what was attempted"
            lines = as_main(CHANGES[change]).splitlines()
            line = 1 + next(i for i, text in enumerate(lines) if "app:other" in text)
            assert problem.endswith(f"order.lua:{line}"), "where the code did it"
        node.kill()
    check_journal(app)
    assert [effect.function for effect in effects(app)] == ["old"]

    deploy(app, COMPATIBLE)
    with NodeProcess(app) as node:
        assert node.result(pid) == ["new", 20], "what it was sent while parked is there"
        assert node.row("run")["status"] == "completed"
        node.kill()
    assert [effect.function for effect in effects(app)] == ["old"]
    check_journal(app)


def test_latest_takes_code_that_fits(tmp_path: Path) -> None:
    app = make_app(tmp_path, ", versioning: latest")
    pid, _ = start_and_crash(app)
    deploy(app, COMPATIBLE)
    with NodeProcess(app) as node:
        node.send(pid, "last", {"n": 2})
        assert node.result(pid) == ["new", 20]


@pytest.mark.parametrize("change", CHANGES)
def test_a_pinned_run_finishes_on_its_own_source(tmp_path: Path, change: str) -> None:
    app = make_app(tmp_path, "")
    pid, _ = start_and_crash(app)
    deploy(app, CHANGES[change])
    with NodeProcess(app) as node:
        node.crash()
        node.send(pid, "last", {"n": 2})
        assert node.result(pid) == ["old", 2]
        node.kill()
    check_journal(app)


def test_a_new_run_starts_on_the_new_source_beside_an_old_one(tmp_path: Path) -> None:
    app = make_app(tmp_path, "")
    old, _ = start_and_crash(app)
    deploy(app, COMPATIBLE)
    with NodeProcess(app) as node:
        new = node.spawn("app:order", HOST)
        for pid in (old, new):
            node.send(pid, "next", {"n": 3})
        node.send(new, "last", {"n": 3})
        assert node.result(old) == ["old", 3]
        assert node.result(new) == ["new", 30]


def test_a_failure_can_park_a_run_until_code_does_better(tmp_path: Path) -> None:
    app = make_app(tmp_path, ", on_error: suspend, versioning: latest")
    deploy(app, OLD.replace("return", 'error("oh") return'))
    pid, history = start_and_crash(app)
    with NodeProcess(app) as node:
        node.send(pid, "last", {"n": 4})
        until(lambda: node.row("run")["status"] == "suspended")
        assert "oh" in node.row("run")["extra"]["problem"]
        assert [record[0] for record in node.history(pid)[len(history) :]] == ["message"]
        node.crash()
        # It is tried again with the code of each boot: this has the same fault.
        until(lambda: log(app).count("is suspended") == 2)
        until(lambda: node.row("run")["status"] == "suspended")
        node.kill()
    check_journal(app)
    deploy(app, OLD)
    with NodeProcess(app) as node:
        assert node.result(pid) == ["old", 4]


def test_a_version_bridges_the_change(tmp_path: Path) -> None:
    app = make_app(tmp_path, ", versioning: latest")
    pid, _ = start_and_crash(app)
    call = 'funcs.call("app:effect", "old", msg.n)'
    bridged = f"""
      local msg = process.inbox():receive()
      if workflow.version("call", 1, 2) == 1 then {call} else {call.replace("old", "new")} end
      local last = process.inbox():receive()
      return {{workflow.version("call", 1, 2), last.n}}
    """
    deploy(app, bridged)
    with NodeProcess(app) as node:
        fresh = node.spawn("app:order", HOST)
        node.send(fresh, "first", {"n": 5})
        for each in (pid, fresh):
            node.send(each, "last", {"n": 6})
        assert node.result(pid) == [1, 6]
        assert node.result(fresh) == [2, 6]
    assert [effect.function for effect in effects(app)] == ["old", "new"]
