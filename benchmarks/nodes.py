"""Nodes to measure: an application of one YAML text, in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from supervision import Node


def write(folder: Path, application: str) -> Path:
    """Write an application; its folder."""
    home = folder / "application"
    home.mkdir()
    (home / "app.yaml").write_text('version: "1.0"\nnamespace: bench\nentries:\n' + application)
    return home


@contextmanager
def running(folder: Path, application: str) -> Iterator[Node]:
    """A node that runs the entries of a YAML list, in the namespace "bench"."""
    with started(write(folder, application)) as node:
        yield node


@contextmanager
def started(home: Path) -> Iterator[Node]:
    """A node that runs the application in a folder."""
    with Node.from_path(home) as node:
        failed = [f"{each.id}: {each.error}" for each in node.services() if each.error]
        if failed:
            raise RuntimeError("; ".join(failed))
        yield node
