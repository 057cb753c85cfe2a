"""However long the path to an application: file and line of its code are in every message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from supervision.node import Node
from tests.machine_harness import error_of
from tests.process_lab import failure, write_app

CRASH = "local x = nil\n\nreturn x.y\n"
DEEP = "departments/fulfilment/warehouses/north/returns/inspection"
KINDS = {
    "function": "function.lua",
    "pooled": "function.lua",
    "process": "process.lua",
    "alone": "process.lua",
    "workflow": "workflow.lua",
}
HOSTS = {"process": "app:one", "alone": "app:alone", "workflow": "app:workflows"}
#: Lua's compiler shows 59 bytes of a name, from its end on.
SHOWN = {
    "crash.lua": "crash.lua:3:",
    f"{DEEP}/crash.lua": "es/north/returns/inspection/crash.lua:3:",
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("a folder with a name that alone is longer than Lua shows it")
    entries: dict[str, dict[str, Any]] = {
        "journal": {"kind": "journal.lmdb", "path": "./journal"},
        "workflows": {"kind": "workflow.host", "journal": "app:journal"},
        "alone": {"kind": "process.host", "isolation": "vm"},
    }
    for number, file in enumerate(SHOWN):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(CRASH, encoding="utf-8")
        for name, kind in KINDS.items():
            pool = {"pool": {"type": "static"}} if name == "pooled" else {}
            entries[f"{name}_{number}"] = {"kind": kind, "source": f"file://{file}", **pool}
    with Node.from_path(write_app(folder, entries)) as node:
        yield node


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("file", SHOWN)
def test_file_and_line_are_shown(node: Node, name: str, file: str) -> None:
    entry = f"app:{name}_{list(SHOWN).index(file)}"
    host = HOSTS.get(name)
    error = failure(node, node.spawn(entry, host)) if host else error_of(lambda: node.call(entry))
    assert f"{SHOWN[file]} attempt to index a nil value" in error.message
    assert f"{SHOWN[file]} in main chunk" in error.trace
    assert str(node.folder) not in error.message
