"""A change that is refused leaves Python modules of the application as they were."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.config.problems import ConfigurationError
from runtime.errors import PerdureError
from supervision.node import Node
from tests.process_lab import PATIENCE, function, running

NOTES = "with open({path!r}, 'a') as file: file.write('{text}')\n"
STOCK = {"id": "app:stock", "data": {"target": "wares.stock:count"}}


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """What modules write down when they are imported."""
    folder = tmp_path / "wares"
    folder.mkdir()
    (folder / "__init__.py").touch()
    path = tmp_path / "notes"
    path.touch()
    note(folder / "stock.py", path, "old ", "def count(): return 'old'\n")
    return path


def note(file: Path, path: Path, text: str, more: str = "") -> None:
    file.write_text(NOTES.format(path=str(path), text=text) + more, encoding="utf-8")


def entries() -> dict[str, dict[str, Any]]:
    return {
        "stock": {"kind": "function.python", "target": "wares.stock:count"},
        "f": function("return 1"),
        "late": function("return require('wares')"),
    }


def refused(node: Node, *changes: dict[str, Any]) -> PerdureError:
    change_set = node.registry.changes().update(STOCK)
    for each in changes:
        change_set.create(each)
    with pytest.raises(PerdureError) as caught:
        node.registry.apply(change_set)
    return caught.value


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "app:x", "kind": "function.lua", "data": {"source": "return return"}},
        {"id": "app:x", "kind": "function.lua", "data": {"sorce": "return 1"}},
        {"id": "app:x", "kind": "process.lua", "data": {"source": "return 1", "method": "main"}},
    ],
)
def test_nothing_is_imported_when_anything_else_is_wrong(
    notes: Path, wrong: dict[str, Any]
) -> None:
    folder = notes.parent
    with running(folder, entries()) as node:
        note(folder / "wares/stock.py", notes, "new ", "def count(): return 'new'\n")
        note(folder / "extra.py", notes, "extra ", "def f(): ...\n")
        extra = {"id": "app:e", "kind": "function.python", "data": {"target": "extra:f"}}
        assert isinstance(refused(node, extra, wrong), ConfigurationError)
        assert notes.read_text() == "old "
        assert node.call("app:stock", timeout=PATIENCE) == "old"


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "app:x", "kind": "function.python", "data": {"target": "extra:nothing"}},
        {"id": "app:x", "kind": "function.python", "data": {"target": "extra.nothing:f"}},
        {
            "id": "app:x",
            "kind": "journal.lmdb",
            "data": {"path": "notes", "lifecycle": {"auto_start": True}},
        },
    ],
)
def test_what_was_imported_is_not_what_the_next_import_finds(
    notes: Path, wrong: dict[str, Any]
) -> None:
    folder = notes.parent
    with running(folder, entries()) as node:
        import wares.stock  # type: ignore[import-not-found]

        note(folder / "wares/stock.py", notes, "new ", "def count(): return 'new'\n")
        note(folder / "extra.py", notes, "extra ", "def f(): ...\n")
        extra = {"id": "app:e", "kind": "function.python", "data": {"target": "extra:f"}}
        refused(node, extra, wrong)
        assert sys.modules["wares.stock"].count() == "old"
        assert wares.stock is sys.modules["wares.stock"]
        assert "extra" not in sys.modules
        assert node.call("app:stock", timeout=PATIENCE) == "old"
        node.registry.apply(node.registry.changes().update(STOCK).create(extra))
        assert node.call("app:stock", timeout=PATIENCE) == "new"
        assert sys.modules["wares.stock"].count() == "new"
