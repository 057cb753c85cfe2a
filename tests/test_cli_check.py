"""`perdure check` finds what a boot would refuse, and leaves no trace."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli_lab import APP, HEAD, perdure, running, write


def test_a_sound_application_passes_and_nothing_is_left_behind(tmp_path: Path) -> None:
    app = write(tmp_path / "app", APP)
    done = perdure("check", app)
    assert done.returncode == 0
    assert "7 entries, no problems" in done.stdout
    assert sorted(file.name for file in app.iterdir()) == ["app.yaml", "echo.lua", "order.lua"]


def test_python_modules_leave_no_bytecode(tmp_path: Path) -> None:
    app = write(
        tmp_path / "app",
        {
            "app.yaml": HEAD + "  - {name: f, kind: function.python, target: 'mine:f'}\n",
            "mine.py": "def f(): return 1\n",
        },
    )
    assert perdure("check", app).returncode == 0
    assert sorted(file.name for file in app.iterdir()) == ["app.yaml", "mine.py"]


def test_problems_exit_with_2_and_json_has_them_all(tmp_path: Path) -> None:
    app = write(
        tmp_path / "app", {**APP, "order.lua": "local x = = 1\n", "echo.lua": "return {}\n"}
    )
    done = perdure("check", app)
    assert done.returncode == 2
    assert "2 problems" in done.stderr
    report = perdure("check", app, "--json")
    assert report.returncode == 2
    problems = json.loads(report.stdout)
    assert problems["ok"] is False
    assert [problem["entry"] for problem in problems["problems"]] == ["app:echo", "app:order"]
    assert report.stderr == ""


def test_warnings_are_printed_and_are_no_problem(tmp_path: Path) -> None:
    app = write(
        tmp_path / "app",
        {"app.yaml": HEAD + "  - {name: t, kind: terminal.host, hide_logs: true}\n"},
    )
    done = perdure("check", app)
    assert done.returncode == 0
    assert "warning: " in done.stderr
    assert "hide_logs" in done.stderr
    (warning,) = json.loads(perdure("check", app, "--json").stdout)["warnings"]
    assert warning["entry"] == "app:t"


def test_overrides_are_checked_too(tmp_path: Path) -> None:
    app = write(tmp_path / "app", APP)
    done = perdure("check", app, "-o", "app:keeper:host=app:orders")
    assert done.returncode == 2
    assert "app:orders is a workflow.host" in done.stderr


def test_a_live_node_is_not_disturbed(tmp_path: Path) -> None:
    app = write(tmp_path / "app", APP)
    with running(app):
        assert perdure("check", app).returncode == 0
        started = perdure(
            "workflows", "start", "app:order", "app:orders", '{"price": 1}', "--app", app
        )
        assert started.returncode == 0
