"""`perdure run` boots, says what it does, stops in order, and refuses what cannot boot with 2."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cli_lab import APP, HEAD, perdure, running, write

STUBBORN = {
    "app.yaml": HEAD
    + """
  - {name: host, kind: process.host, host: {workers: 1},
     lifecycle: {auto_start: true, stop_timeout: 600s}}
  - {name: deaf, kind: process.lua, source: file://deaf.lua}
  - {name: keeper, kind: process.service, process: deaf, host: host,
     lifecycle: {auto_start: true, stop_timeout: 600s}}
""",
    "deaf.lua": """
process.registry.register("deaf")
local events = process.events() -- that never reads them
print("deaf is up")
while true do process.inbox():receive() end
""",
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_services_in_order(tmp_path: Path, number: signal.Signals) -> None:
    app = write(tmp_path / "app", APP)
    with running(app) as node:
        node.signal(number)
        assert node.ended() == 0
    log = "\n".join(node.log)
    started = [
        log.index(f"{name} is running")
        for name in ("app:journal (journal.lmdb)", "app:orders (workflow.host)")
    ]
    assert started == sorted(started)
    stopped = [
        log.index(text)
        for text in (
            f"stopping ({number.name})",
            "app:keeper (process.service) is stopped",
            "app:processes (process.host) is stopped",
            "stopped in",
        )
    ]
    assert stopped == sorted(stopped)
    assert log.index("app:orders (workflow.host) is stopped") < log.index(
        "app:journal (journal.lmdb) is stopped"
    )
    assert not (app / ".perdure" / "control.sock").exists()


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    with running(write(tmp_path, STUBBORN)) as node:
        node.signal(signal.SIGTERM)
        node.wait_for("app:keeper (process.service) is stopping")
        node.signal(signal.SIGINT)
        assert node.ended() == 1
    assert "stopped at once by a second signal (SIGINT)" in node.log


def test_what_lua_prints_goes_to_the_log(tmp_path: Path) -> None:
    with running(write(tmp_path, STUBBORN), until="deaf is up") as node:
        line = node.log[-1]
    time, level, text = line.split(maxsplit=2)
    assert time.startswith("20")
    assert level == "info"
    assert text.startswith("{app:host|")


def test_all_problems_of_a_configuration_are_listed_and_nothing_starts(tmp_path: Path) -> None:
    app = write(
        tmp_path / "app",
        {
            "app.yaml": HEAD
            + """
  - {name: journal, kind: journal.lmdb, pth: ./journal}
  - {name: orders, kind: workflow.host, journal: jornal}
"""
        },
    )
    done = perdure("run", app)
    assert done.returncode == 2
    assert "problems in" in done.stderr
    assert "app.yaml:5: app:journal\n" in done.stderr
    assert 'did you mean "path"?' in done.stderr
    assert "app.yaml:6: app:orders\n" in done.stderr
    assert "app:jornal" in done.stderr
    assert [file.name for file in app.iterdir()] == ["app.yaml"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "Missing argument 'APP'"),
        (["run", "no-such-folder"], "there is no such folder"),
        (["run", "app", "--dta", "x"], "No such option"),
        (["run", "app", "-o", "app:journl:path=x"], 'did you mean "app:journal"?'),
        (["run", "app", "--exec", "app:ech"], 'did you mean "app:echo"?'),
        (["run", "app", "--exec", "app:order"], "app:order is a workflow.lua"),
        (["runn"], "No such command"),
    ],
)
def test_wrong_usage_is_told_with_exit_code_2(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    write(tmp_path / "app", APP)
    done = perdure(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "app" / ".perdure").exists()


def test_an_override_changes_a_field(tmp_path: Path) -> None:
    app = write(tmp_path / "app", APP)
    with running(app, "-o", "app:journal:path=./other") as node:
        node.signal(signal.SIGTERM)
        assert node.ended() == 0
    assert (app / "other" / "data.mdb").exists()
    assert not (app / "journal").exists()


def test_two_nodes_cannot_share_a_data_folder_or_a_journal(tmp_path: Path) -> None:
    app = write(tmp_path / "app", APP)
    with running(app):
        same_folder = perdure("run", app)
        assert same_folder.returncode == 2
        assert "belongs to the running node with pid" in same_folder.stderr
        same_journal = perdure("run", app, "--data", tmp_path / "other")
        assert same_journal.returncode == 2
        assert "app:journal" in same_journal.stderr
        assert "a journal has one owner" in same_journal.stderr
        assert perdure("services", "--app", app).returncode == 0


def test_version_and_help_say_what_there_is() -> None:
    assert perdure("--version").stdout.startswith("perdure, version")
    text = perdure("--help").stdout
    for command in ("run", "check", "ps", "services", "workflows", "send", "spawn"):
        assert f"\n  {command} " in text
