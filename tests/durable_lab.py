"""A small application for the tests of what a workflow is promised, on both hosts, and the journal
it leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from journal.journal import Journal
from supervision import Node
from tests.both_hosts import Host
from tests.crash_lab import has_journal, put_on_server, write_app

HOST = "app:orders"

ON_A_JOURNAL = Host(None)

_HEAD = """version: "1.0"
namespace: app
entries:
- {name: journal, kind: journal.lmdb, path: ./data/journal}
- name: orders
  kind: temporal.worker
  client: app:journal
  workers: 1
  lifecycle: {auto_start: true}
- name: processes
  kind: process.host
  host: {workers: 1}
  lifecycle: {auto_start: true}
"""

#: `effect(name, …)` notes its call; it hangs for as long as there is a file "hang-<name>".
FUNCTIONS = """
import pathlib, time
from effects import record
from runtime.api import PerdureError, ctx

FOLDER = pathlib.Path(__file__).parent

def effect(name, *args):
    record(name, *args)
    while (FOLDER / f"hang-{name}").exists():
        time.sleep(0.005)
    return name
"""

_MODULES = "[funcs, time, uuid, workflow, json, events, store, env, logger, io]"


def durable_app(
    folder: Path,
    workflows: Mapping[str, str],
    functions: str = "",
    targets: tuple[str, ...] = (),
    entries: str = "",
    host: Host = ON_A_JOURNAL,
) -> Path:
    """An application with workflows on the host app:orders.

    Args:
        workflows: name -> the body of its main, which finds its arguments in `...`; each name
            can be followed by further fields of its entry, as in "order, versioning: latest".
        functions: Python source added to that of `effect`.
        targets: functions of it that are entries.
        entries: more YAML.
        host: where its workflows run.
    """
    files = {"functions.py": FUNCTIONS + functions}
    lines = [_HEAD]
    for name in ("effect", *targets):
        lines.append(f'- {{name: {name}, kind: function.python, target: "functions:{name}"}}\n')
    for name, body in workflows.items():
        plain = name.partition(",")[0]
        lines.append(
            f'- {{name: {name}, kind: workflow.lua, source: "file://{plain}.lua", method: main, '
            f"modules: {_MODULES}}}\n"
        )
        files[f"{plain}.lua"] = as_main(body)
    files["app.yaml"] = "".join(lines) + entries
    write_app(folder, files)
    if host.server is not None and has_journal(folder):
        put_on_server(folder, host.overrides_to_kill(HOST))
    return folder


def node_fixture(workflows: Mapping[str, str], entries: str = "") -> Any:
    """A fixture: a node on each host with this `durable_app`, for all tests of a module."""

    @pytest.fixture(scope="module")
    def node(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
        app = durable_app(tmp_path_factory.mktemp("app"), workflows, entries=entries)
        with host.node(app) as running:
            yield running

    return node


def as_main(body: str) -> str:
    """The source of a workflow with this body, which has the usual modules at hand."""
    return f"""local funcs, time, uuid = require("funcs"), require("time"), require("uuid")
local workflow, json = require("workflow"), require("json")
local function main(...)
{body}
end
return {{main = main}}
"""


@contextmanager
def journal_of(app: Path) -> Iterator[Journal]:
    """The journal that a dead node left."""
    with Journal.open(app / "data/journal") as journal:
        yield journal


def kinds_on_disk(app: Path, workflow_id: str) -> list[str]:
    """Types of the records of a workflow's current run; none when there is no such run."""
    with journal_of(app) as journal:
        run = journal.run_of(workflow_id)
        return [] if run is None else [record[0] for _, record in journal.history(run)]


def pages_on_disk(app: Path, workflow_id: str) -> list[list[list[Any]]]:
    """The records of a workflow's current run, those of one transaction together."""
    with journal_of(app) as journal:
        run = journal.run_of(workflow_id)
        pages = [] if run is None else journal.pages(run)
        return [[record for _, record in page] for page in pages]
