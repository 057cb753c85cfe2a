"""What a test has of an application: its entries, with everything that it writes in a folder of the
test's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from runtime.config.loader import Loaded, load
from runtime.config.registry import Entry, Registry
from runtime.errors import Kind, PerdureError

#: Namespace of the entries that a test brings itself.
NAMESPACE: Final = "app"

_HOSTS: Final = f"""version: "1.0"
namespace: {NAMESPACE}
entries:
- {{name: journal, kind: journal.lmdb, path: ./journal}}
- name: workflows
  kind: workflow.host
  journal: {NAMESPACE}:journal
  workers: 1
  lifecycle: {{auto_start: true}}
- name: processes
  kind: process.host
  host: {{workers: 1}}
  lifecycle: {{auto_start: true}}
"""
_REQUIRE = re.compile(r"""require\s*\(?\s*["'](\w+)["']""")
#: A test reads the ends of its runs whenever it likes, ns.
_FOR_EVER: Final = 1 << 62
_LMDB: Final = ("journal.lmdb", "store.lmdb")


class Setting(NamedTuple):
    """An application under test; plain, for it crosses to child processes.

    Attributes:
        folder: of the application.
        overrides: as `-o` has them.
        services: whether process services and supervisors start by themselves.
        stand_ins: ids of the functions that the test answers for.
    """

    folder: str
    overrides: tuple[str, ...] = ()
    services: bool = False
    stand_ins: tuple[str, ...] = ()


def write_app(folder: Path, workflows: Mapping[str, str]) -> None:
    """An application of these workflows, name -> Lua source, and the hosts that they need."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [_HOSTS]
    for name, source in workflows.items():
        (folder / f"{name}.lua").write_text(source, encoding="utf-8")
        modules = ", ".join(sorted(set(_REQUIRE.findall(source))))
        lines.append(
            f'- {{name: {name}, kind: workflow.lua, source: "file://{name}.lua", '
            f"modules: [{modules}]}}\n"
        )
    (folder / "app.yaml").write_text("".join(lines), encoding="utf-8")


def read(setting: Setting, data: Path) -> Loaded:
    """The application as the test has it, its journals and stores under `data`.

    Raises ConfigurationError, PerdureError INVALID for a stand-in of what is no function.
    """
    loaded = load(setting.folder, setting.overrides)
    entries = {entry.id: _moved(entry, data, setting.services) for entry in loaded.registry.all()}
    for entry_id in setting.stand_ins:
        entry = entries.get(entry_id) or Entry(entry_id, "function.python", {}, {})
        if not entry.kind.startswith(("function.", "process.")):
            text = f"{entry_id} is a {entry.kind}: a test can stand in for functions"
            raise PerdureError(Kind.INVALID, text)
        entries[entry_id] = replace(entry, kind="function.python", data={"target": "", "pool": {}})
    return loaded._replace(registry=Registry(entries.values()))


def _moved(entry: Entry, data: Path, services: bool) -> Entry:
    if entry.kind in _LMDB:
        moved = {**entry.data, "path": str(data / entry.id.replace(":", "."))}
        if "retention" in moved:
            moved["retention"] = _FOR_EVER
        return replace(entry, data=moved)
    if entry.kind in ("process.service", "process.supervisor") and not services:
        lifecycle = {**entry.data["lifecycle"], "auto_start": False}
        return replace(entry, data={**entry.data, "lifecycle": lifecycle})
    return entry


def only(ids: Iterable[str], what: str) -> str:
    """The id, where there is but one. Raises PerdureError INVALID."""
    found = list(ids)
    if len(found) != 1:
        text = f"the application has {', '.join(found) or 'no'} {what}: name the host"
        raise PerdureError(Kind.INVALID, text)
    return found[0]


def entry_id(name: str) -> str:
    """The id of an entry; without a namespace it is one that the test brought itself."""
    return name if ":" in name else f"{NAMESPACE}:{name}"
