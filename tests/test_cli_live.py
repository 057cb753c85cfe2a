"""Commands on a live node: tables for people, lines of JSON for programs, errors with 1."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli_lab import APP, Running, perdure, running, write


class Live:
    """An application in a folder, and the node that runs it."""

    def __init__(self, app: Path, node: Running) -> None:
        self.app = app
        self.node = node

    def __call__(self, *args: str) -> subprocess.CompletedProcess[str]:
        return perdure(*args, "--app", self.app)

    def done(self, *args: str) -> str:
        done = self(*args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *args: str) -> list[Any]:
        return [json.loads(line) for line in self.done(*args, "--json").splitlines()]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    app = write(tmp_path_factory.mktemp("live") / "app", APP)
    with running(app) as node:
        yield Live(app, node)


def test_services_are_listed(live: Live) -> None:
    header, *rows = live.done("services").splitlines()
    names = ["ID", "KIND", "STATE", "UPTIME", "RESTARTS", "NEXT", "ATTEMPT", "NOTE"]
    assert header.split() == names
    assert {row.split()[0] for row in rows} == {
        "app:journal", "app:orders", "app:processes", "app:keeper"
    }  # fmt: skip
    assert all("running" in row for row in rows)
    by_id = {row["id"]: row for row in live.json("services")}
    assert by_id["app:keeper"]["state"] == "running"
    assert by_id["app:keeper"]["uptime"] > 0
    assert by_id["app:keeper"]["supervisor"] == ""


def test_services_are_stopped_started_and_restarted(live: Live) -> None:
    stopped = live.json("services", "stop", "app:keeper")[0]
    assert (stopped["id"], stopped["state"]) == ("app:keeper", "stopped")
    assert live.json("services", "start", "app:keeper")[0]["state"] == "running"
    (row,) = live.done("services", "restart", "app:keeper").splitlines()[1:]
    assert row.split()[:3] == ["app:keeper", "process.service", "running"]
    wrong = live("services", "stop", "app:keepr")
    assert wrong.returncode == 1
    assert 'no service "app:keepr"; did you mean "app:keeper"?' in wrong.stderr
    misplaced = perdure("services", "--json", "stop", "app:keeper")
    assert misplaced.returncode == 2
    assert "write the options behind the command" in misplaced.stderr


def test_processes_are_listed_and_get_messages(live: Live) -> None:
    (process,) = live.json("ps")
    assert process["entry"] == "app:echo"
    assert process["names"] == ["echo"]
    assert process["pid"] in live.done("ps")
    assert live.done("send", "echo", "greeting", '"hello"') == "sent\n"
    live.node.wait_for("heard\tgreeting\thello")
    assert live.json("send", process["pid"], "greeting", '{"a": 1}') == [{"ok": True}]


def test_a_process_is_spawned_cancelled_and_terminated(live: Live) -> None:
    # The name "echo" is held: this one has only its PID.
    pids = [live.done("spawn", "app:echo", "app:processes").strip() for _ in range(2)]
    assert all(pid.startswith("{app:processes|") for pid in pids)
    live.done("cancel", pids[0], "--reason", "enough")
    live.done("terminate", pids[1])
    again = live("terminate", pids[1])
    assert again.returncode == 1
    assert again.stderr == f"error: NotFound: process not found: {pids[1]}\n"


def test_a_workflow_from_start_to_end(live: Live) -> None:
    pid = live.done("workflows", "start", "app:order", "app:orders", '{"price": 5}', "--id", "o1")
    assert pid == "{app:orders|o1}\n"
    assert live.json(
        "workflows", "start", "app:order", "app:orders", '{"price": 5}', "--id", "o1"
    ) == [{"pid": "{app:orders|o1}", "workflow_id": "o1"}]
    assert "o1" in [row["workflow_id"] for row in live.json("workflows", "list", "--open")]
    live.done("workflows", "send", "o1", "approve", '{"by": "ann"}', "--key", "k")
    result = {"total": 6, "by": "ann"}
    assert json.loads(live.done("workflows", "wait", "o1", "--timeout", "60")) == result

    (shown,) = live.json("workflows", "show", "o1")
    assert (shown["status"], shown["result"], shown["args"]) == (
        "completed",
        result,
        [{"price": 5}],
    )
    assert shown["started"] < shown["ended"]
    assert "completed" in live.done("workflows", "show", "{app:orders|o1}")
    assert "o1" not in [row["workflow_id"] for row in live.json("workflows", "list", "--open")]

    texts = [row["text"] for row in live.json("workflows", "history", "o1")]
    assert texts[0] == 'started app:order({"price": 5})'
    assert "activity 1: app:add(5, 1)" in texts
    assert "activity 1 (app:add) gave: 6" in texts
    assert 'message "approve": {"by": "ann"}' in texts
    assert texts[-1] == 'the run completed: {"by": "ann", "total": 6}'
    header, *rows = live.done("workflows", "history", "o1").splitlines()
    assert header.split() == ["SEQ", "TIME", "WHAT"]
    assert len(rows) == len(texts)


def test_a_failed_workflow_shows_its_error_and_traceback(live: Live) -> None:
    live.done("workflows", "start", "app:order", "app:orders", '{"price": 1}', "--id", "bad")
    live.done("workflows", "send", "bad", "reject", '{"by": "bob"}')
    waited = live("workflows", "wait", "bad", "--timeout", "60")
    assert waited.returncode == 1
    assert "rejected by bob" in waited.stderr
    assert "order.lua:8" in waited.stderr
    shown = live("workflows", "show", "bad")
    assert shown.returncode == 0
    assert "failed" in shown.stdout
    assert "rejected by bob" in shown.stderr


def test_an_open_workflow_shows_what_it_waits_for(live: Live) -> None:
    live.done("workflows", "start", "app:order", "app:orders", '{"price": 1}', "--id", "idle")
    gave_up = live("workflows", "wait", "idle", "--timeout", "0.05")
    assert gave_up.returncode == 1
    assert "Timeout" in gave_up.stderr
    while live.json("workflows", "show", "idle")[0]["pending"]:  # until its 1 ms are over
        pass
    assert "it waits for a message" in live.done("workflows", "show", "idle")
    live.done("workflows", "cancel", "idle", "--reason", "no longer wanted")
    texts = [row["text"] for row in live.json("workflows", "history", "idle")]
    assert "asked to end: no longer wanted" in texts
    live.done("workflows", "terminate", "idle")
    (shown,) = live.json("workflows", "show", "idle")
    assert shown["status"] == "terminated"


def test_workflows_are_started_with_attributes_and_found_by_them(live: Live) -> None:
    start = ["workflows", "start", "app:order", "app:orders", '{"price": 1}', "--id"]
    for number in ("f1", "f2"):
        given = ["--search", "customer=c-7", "--search", f"rank={number[1]}", "--memo", "by=ann bo"]
        live.done(*start, number, *given, "--key", f"start {number}")
    wanted = 'status = "open" and customer = "c-7" and rank > 1'
    (row,) = live.json("workflows", "list", "--where", wanted)
    assert (row["workflow_id"], row["search"]) == ("f2", {"customer": "c-7", "rank": 2})
    done = live("workflows", "list", "--where", "custmer = 'c-7' or rank > 1", "--json")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    assert 'no run has the attribute "custmer": did you mean "customer"?' in done.stderr
    done = live("workflows", "list", "--where", "colour = 'red'")
    assert 'no run has the attribute "colour": there are customer, ended, entry,' in done.stderr
    done = live("workflows", "list", "--where", "status = 'opne'")
    assert done.returncode == 1
    assert "no run has the status 'opne'; did you mean \"open\"?" in done.stderr
    shown = live.done("workflows", "show", "f1")
    assert 'customer="c-7" rank=1' in shown
    assert 'by="ann bo"' in shown


def test_start_options_and_earlier_runs(live: Live) -> None:
    again = '--option=retry_policy={"initial_interval": 1, "maximum_attempts": 2}'
    price = '{"price": 1}'
    live.done("workflows", "start", "app:order", "app:orders", price, "--id", "twice", again)
    live.done("workflows", "send", "twice", "reject", '{"by": "bob"}')
    where = ["--where", 'workflow_id = "twice"']
    while len(rows := live.json("workflows", "list", *where)) < 2:
        pass
    assert [row["status"] for row in rows] == ["open", "failed"]
    text = live.done("workflows", "history", "twice", "--run", rows[1]["run_id"])
    assert f"run {rows[0]['run_id']} follows" in text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["workflows", "show", "nothing"], 1, "no workflow nothing"),
        (["workflows", "send", "nothing", "topic"], 1, "no workflow nothing"),
        (["send", "nobody", "topic"], 1, 'no process holds the name "nobody"'),
        (["send", "echo", "@topic"], 1, "does not start with @"),
        (["spawn", "app:nothing", "app:processes"], 1, "app:nothing does not exist"),
        (["spawn", "app:echo", "app:nowhere"], 1, "host not found: app:nowhere"),
        (["workflows", "start", "app:echo", "app:orders"], 1, "app:echo is a process.lua"),
        (["send", "echo", "topic", "unquoted"], 2, "is not JSON"),
        (["send", "echo"], 2, "Missing argument"),
    ],
)
def test_errors_are_those_of_the_node(
    live: Live, arguments: list[str], code: int, said: str
) -> None:
    done = live(*arguments)
    assert done.returncode == code
    assert said in done.stderr


def test_without_a_node_the_message_says_where_it_looked(tmp_path: Path) -> None:
    done = perdure("ps", "--app", tmp_path)
    assert done.returncode == 1
    assert str(tmp_path / ".perdure" / "control.sock") in done.stderr
    assert f"perdure run {tmp_path}" in done.stderr


def test_the_data_folder_can_be_named(tmp_path: Path) -> None:
    app = write(tmp_path / "app", APP)
    with running(app, "--data", tmp_path / "data"):
        assert "app:keeper" in perdure("services", "--data", tmp_path / "data").stdout
        assert perdure("services", "--app", app).returncode == 1


def test_a_node_that_was_killed_is_told_from_none(tmp_path: Path) -> None:
    app = write(tmp_path / "app", APP)
    with running(app) as node:
        node.close()
    done = perdure("services", "--app", app)
    assert done.returncode == 1
    assert "ended without removing its socket" in done.stderr
    with running(app):
        assert perdure("services", "--app", app).returncode == 0
