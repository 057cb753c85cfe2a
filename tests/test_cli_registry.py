"""`perdure registry` on a live node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from supervision.cli.main import main
from supervision.node import Node
from tests.cli_lab import HEAD, perdure, write
from tests.process_lab import PATIENCE

APP = {
    "app.yaml": HEAD
    + """
  - {name: processes, kind: process.host, host: {workers: 1}}
  - {name: number, kind: function.lua, source: "return 1", meta: {comment: "a number"}}
  - name: main
    kind: process.lua
    source: 'return require("funcs").call("app:number")'
    modules: [funcs]
""",
}
NEW = HEAD + '  - {name: number, kind: function.lua, source: "file://number.lua"}\n'


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Path]:
    folder = write(tmp_path / "app", APP)
    with Node.from_path(folder):
        yield folder


def done(app: Path, *args: str) -> str:
    finished = run(app, *args)
    assert finished.exit_code == 0, finished.stderr
    return finished.stdout


def run(app: Path, *args: str) -> Result:
    return CliRunner().invoke(main, ["registry", *args, "--app", str(app)])


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_entries_are_listed_shown_applied_rolled_back_and_exported(
    app: Path, tmp_path: Path
) -> None:
    assert [row["id"] for row in lines(done(app, "list", "--json"))] == [
        "app:main", "app:number", "app:processes"
    ]  # fmt: skip
    assert done(app, "list", "--kind", "function.lua").splitlines()[1].split() == [
        "app:number", "function.lua", f"{app / 'app.yaml'}:6"
    ]  # fmt: skip
    assert done(app, "show", "app:number") == (
        "name: number\nkind: function.lua\nsource: return 1\nmeta:\n  comment: a number\n"
    )

    new = write(tmp_path / "new", {"new.yaml": NEW, "number.lua": "return 2"})
    assert done(app, "apply", str(new / "new.yaml")) == (
        "updated app:number\nversion 2 is in force\n"
    )
    assert "file://" not in done(app, "show", "app:number")
    done(app, "apply", str(new), "--delete", "app:main")
    rows = lines(done(app, "versions", "--json"))
    assert [(row["version"], row["previous"], row["current"]) for row in rows] == [
        (1, None, False), (2, 1, False), (3, 2, True)
    ]  # fmt: skip
    assert done(app, "rollback", "2") == "version 2 is in force\n"
    assert "in force" in done(app, "versions").splitlines()[2]

    out = tmp_path / "out"
    assert done(app, "export", "--out", str(out)) == f"wrote 3 files to {out}\n"
    assert (out / "app/number.lua").read_text() == "return 2"
    assert "# app/_index.yaml" in done(app, "export")
    assert perdure("run", out, "--exec", "app:main").returncode == 2


def test_what_is_wrong_is_told_and_changes_nothing(app: Path, tmp_path: Path) -> None:
    bad = write(tmp_path / "bad", {"bad.yaml": HEAD + "  - {name: x, kind: proces.lua}\n"})
    refused = run(app, "apply", str(bad))
    assert refused.exit_code == 1
    assert "bad.yaml:4: app:x" in refused.stderr
    assert 'did you mean "process.lua"?' in refused.stderr
    assert "Traceback" not in refused.stderr
    assert run(app, "apply").exit_code == 2
    assert run(app, "apply", str(tmp_path / "none")).exit_code == 2
    assert run(app, "apply", "--delete", "app:x").exit_code == 1
    assert run(app, "show", "app:x").exit_code == 1
    assert run(app, "rollback", "9").exit_code == 1
    assert run(app, "export", "--out", str(bad)).exit_code == 2
    assert len(lines(done(app, "versions", "--json"))) == 1


def test_what_was_given_at_the_start_holds_for_applied_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "app", APP)
    overrides = ("app:number:source=return 7", "app:main:meta.note=x")
    with Node.from_path(folder, overrides) as node:
        assert node.call("app:number", timeout=PATIENCE) == 7
        new = write(tmp_path / "new", {"new.yaml": NEW, "number.lua": "return 2"})
        done(folder, "apply", str(new))
        assert node.call("app:number", timeout=PATIENCE) == 7
        assert node.registry.get("app:main").meta == {"note": "x"}
        changes = node.registry.changes()
        changes.update({"id": "app:number", "data": {"source": "return 3"}})
        node.registry.apply(changes)
        assert node.call("app:number", timeout=PATIENCE) == 3
