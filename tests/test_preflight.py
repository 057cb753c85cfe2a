"""What would fail at boot is found before it, by `Node`, `perdure run` and `perdure check`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from journal.databases import DATABASES, META
from journal.encoding import encode
from journal.files import FORMAT_VERSION, IDENTITY
from journal.journal import Journal
from runtime.config.problems import ConfigurationError
from supervision import Node
from tests.cli_lab import HEAD, perdure, write

CODE: list[tuple[str, dict[str, str], list[str]]] = [
    (
        "{name: e, kind: process.lua, source: file://e.lua, method: main}",
        {"e.lua": "local x = 1\nlocal y = = 2\n"},
        ["e.lua:2:", "unexpected symbol near '='"],
    ),
    (
        "{name: e, kind: workflow.lua, source: file://e.lua, method: main}",
        {"e.lua": "local function mian() end\nreturn { mian = mian }\n"},
        ['e.lua defines no function "main"', 'did you mean "mian"?'],
    ),
    (
        "{name: e, kind: function.python, target: 'pay.cards:charge'}",
        {"pay/card.py": "def charge(): ...\n"},
        ['"pay.cards:charge" names no module', 'did you mean "card"?'],
    ),
    (
        "{name: e, kind: function.python, target: 'cards:charge'}",
        {"cards.py": "def chrge(): ...\n"},
        ['cards has no "charge"', 'did you mean "chrge"?'],
    ),
    (
        "{name: e, kind: function.python, target: 'broken:f'}",
        {"broken.py": "x = 1\ny = 1 / 0\n"},
        ["cannot be imported: ZeroDivisionError", "broken.py:2"],
    ),
    (
        "{name: e, kind: function.python, target: 'spelt:f'}",
        {"spelt.py": "def f(:\n"},
        ["cannot be imported: SyntaxError", "spelt.py:1"],
    ),
]


@pytest.mark.parametrize(("entry", "files", "said"), CODE)
def test_faults_of_code(tmp_path: Path, entry: str, files: dict[str, str], said: list[str]) -> None:
    app = write(tmp_path / "app", {"app.yaml": f"{HEAD}  - {entry}\n", **files})
    for command in ("check", "run"):
        done = perdure(command, app)
        assert done.returncode == 2
        assert "app.yaml:4: app:e\n" in done.stderr
        for each in said:
            assert each in done.stderr
    assert not (app / ".perdure").exists()


def test_all_faults_are_found_at_once(tmp_path: Path) -> None:
    app = write(
        tmp_path / "app",
        {
            "app.yaml": HEAD
            + "  - {name: a, kind: process.lua, source: 'x = = 1'}\n"
            + "  - {name: b, kind: process.lua, source: 'return {}', method: main}\n"
            + "  - {name: c, kind: function.python, target: 'nothing_here:f'}\n",
        },
    )
    with pytest.raises(ConfigurationError) as refused:
        Node.from_path(app)
    assert [problem.entry for problem in refused.value.problems] == ["app:a", "app:b", "app:c"]


JOURNAL = HEAD + "  - {name: journal, kind: journal.lmdb, path: ./journal}\n"


def a_file_in_the_way(path: Path) -> str:
    path.write_text("")
    return "journal is not a folder"


def no_journal(path: Path) -> str:
    path.mkdir()
    (path / "data.mdb").write_bytes(b"not a journal" * 1000)
    return "not a journal"


def of_a_newer_format(path: Path) -> str:
    Journal.open(path).close()
    with lmdb.open(str(path), max_dbs=16) as env:
        meta = env.open_db(DATABASES[META].name.encode())
        with env.begin(write=True) as txn:
            identity = (FORMAT_VERSION + 1, "some-id", 0)
            txn.put(IDENTITY, encode(IDENTITY, identity), db=meta)
    return f"has format {FORMAT_VERSION + 1}"


@pytest.mark.parametrize("spoil", [a_file_in_the_way, no_journal, of_a_newer_format])
def test_faults_of_journals(tmp_path: Path, spoil: Callable[[Path], str]) -> None:
    app = write(tmp_path / "app", {"app.yaml": JOURNAL})
    said = spoil(app / "journal")
    checked = perdure("check", app)
    assert checked.returncode == 2
    assert said in checked.stderr
    ran = perdure("run", app)
    assert ran.returncode == 2
    for done in (checked, ran):
        assert "app.yaml:4: app:journal\n" in done.stderr


def test_a_journal_that_another_node_owns(tmp_path: Path) -> None:
    app = write(tmp_path / "app", {"app.yaml": JOURNAL})
    with Journal.open(app / "journal"):
        ran = perdure("run", app)
        assert ran.returncode == 2
        assert "app.yaml:4: app:journal\n" in ran.stderr
        assert "stop that node first" in ran.stderr
        assert perdure("check", app).returncode == 0


def test_a_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    app = write(tmp_path / "app", {"app.yaml": JOURNAL})
    (app / ".perdure").write_text("")
    for command in ("check", "run"):
        done = perdure(command, app)
        assert done.returncode == 2
        assert "data folder" in done.stderr
        assert "--data" in done.stderr
    assert not (app / "journal").exists()


def test_a_node_that_was_refused_owns_nothing(tmp_path: Path) -> None:
    app = write(tmp_path / "app", {"app.yaml": JOURNAL})
    (app / "journal").write_text("")
    with pytest.raises(ConfigurationError):
        Node.from_path(app)
    (app / "journal").unlink()
    with Node.from_path(app) as node:
        assert node.services() != []
