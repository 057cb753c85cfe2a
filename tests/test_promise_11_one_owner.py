"""Promise 11: one node per journal; a second one is refused with the owner's pid. For the journal
only: any number of nodes serve a task queue of a server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.crash_lab import NodeProcess, NodeRefused
from tests.durable_lab import HOST, durable_app


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return durable_app(tmp_path / "app", {"answer": "return 42"})


def other_app(app: Path) -> Path:
    """Another application, with a data folder of its own, on the same journal."""
    other = app.parent / "other"
    shutil.copytree(app, other, ignore=shutil.ignore_patterns("data", ".perdure", "*.log"))
    yaml = (other / "app.yaml").read_text(encoding="utf-8")
    (other / "app.yaml").write_text(yaml.replace("./data/journal", f"{app}/data/journal"))
    return other


def test_a_second_node_of_the_application_is_refused(app: Path) -> None:
    with NodeProcess(app) as node:
        with pytest.raises(NodeRefused, match=str(node.pid)):
            NodeProcess(app)
        assert node.result(node.spawn("app:answer", HOST)) == 42


def test_a_node_of_another_application_is_refused_the_journal(app: Path) -> None:
    with NodeProcess(app) as node:
        other = other_app(app)
        with pytest.raises(NodeRefused, match="app:journal") as refused:
            NodeProcess(other)
        assert str(node.pid) in str(refused.value)
        assert node.result(node.spawn("app:answer", HOST)) == 42


def test_a_killed_owner_is_in_nobodys_way(app: Path) -> None:
    with NodeProcess(app) as node:
        pid = node.spawn("app:answer", HOST)
        assert node.result(pid) == 42
        node.kill()
    with NodeProcess(other_app(app)) as heir:
        assert heir.result(pid) == 42
