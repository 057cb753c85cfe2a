"""All that a boot would refuse, found without booting: nothing is started, made or written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hosts.functions import PythonFunctions
from hosts.timers import Timers
from journal.environment import Environment
from journal.errors import JournalError
from journal.journal import MAP_SIZE
from runtime.clock import SystemClock
from runtime.config.loader import Loaded
from runtime.config.problems import Problem
from supervision.preflight import preflight


def check(loaded: Loaded, data: Path) -> list[Problem]:
    """Problems of a loaded application.

    Args:
        data: what would be the node's data folder.

    A node that runs on the same journals is not disturbed; that it owns them is no problem here.
    Imports the application's Python modules, without writing their bytecode.
    """
    sys.dont_write_bytecode = True
    python = PythonFunctions(loaded.source_folder, Timers(SystemClock()))
    try:
        problems = preflight(loaded.registry, python).problems
    finally:
        python.close()
    for entry in loaded.registry.of_kind("journal.lmdb"):
        if fault := _journal_fault(Path(entry.data["path"])):
            problems.append(Problem(entry.file, entry.line, entry.id, *fault))
    if reason := unusable(data):
        problems.append(Problem(str(data), 0, "", f"data folder: {reason}", "use --data DIR"))
    return sorted(problems)


def unusable(folder: Path) -> str:
    """Why files cannot be made in `folder`, which may have to be made itself; "" when they can."""
    there = folder
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        return f"{there} is not a folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{there} is not writable"
    return ""


def _journal_fault(path: Path) -> tuple[str, str] | None:
    if fault := unusable(path):
        return f"path: {fault}", "choose a folder on a local disk that this user can write"
    if not (path / "data.mdb").exists():
        return None
    try:
        Environment(str(path), MAP_SIZE, readonly=True).close()
    except JournalError as error:
        return str(error), ""
    return None
