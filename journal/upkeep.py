"""Care of a journal's files: copies of a live one, compaction, figures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from journal import faults
from journal.databases import DATABASES, PAYLOADS
from journal.environment import Environment, open_owned
from journal.errors import JournalPathError
from journal.files import FORMAT_VERSION, data_size
from journal.journal import MAP_SIZE
from journal.records import RunRow
from journal.store import Store

COMPACT_BEFORE: Final = faults.declare("upkeep.compact.before")
COMPACT_AFTER: Final = faults.declare("upkeep.compact.after")

#: Where a copy is made before it takes its place, in the folder that it is for.
_PARTIAL: Final = ".partial"


def backup(path: str | os.PathLike[str], destination: str | os.PathLike[str]) -> int:
    """Copy a journal, which a node may own, into an empty or new folder; bytes of the copy.

    The copy is one consistent state, compact, and synced to disk. Raises JournalPathError for a
    folder that holds something, and what opening a journal raises.
    """
    source, folder = os.path.abspath(path), os.path.abspath(destination)
    with closing(Environment(source, MAP_SIZE, readonly=True)) as env:
        try:
            os.makedirs(folder, exist_ok=True)
            if os.listdir(folder):
                raise JournalPathError(f"{folder} is not empty: name a new folder for the copy")
            _copy(env, folder)
        except OSError as error:
            raise JournalPathError(f"{folder}: the copy cannot be written: {error}") from error
    return data_size(folder)


def compact(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Give what a journal no longer uses back to the disk; its bytes before and after.

    Needs as much space as the compact journal takes. Raises JournalOwnedError while a node has it.
    """
    env, owner = open_owned(path, MAP_SIZE)
    folder = env.path
    try:
        before = data_size(folder)
        with closing(env):
            _copy(env, folder, _replace)
    except OSError as error:
        raise JournalPathError(f"{folder}: cannot be compacted: {error}") from error
    finally:
        shutil.rmtree(os.path.join(folder, _PARTIAL), ignore_errors=True)
        owner.release()
    return before, data_size(folder)


def stats(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Figures of a journal, which a node may own.

    Keys: `path`, `journal_id`, `created_ns`, `format` (this version's), `bytes` (of the file),
    `free_bytes` (of it, that a later transaction uses or `compact` gives back), `runs` (by
    status), `payload_bytes` (of large payloads), and `databases`: rows and bytes of each.
    """
    with closing(Environment(os.path.abspath(path), MAP_SIZE, readonly=True)) as env:
        databases: dict[str, dict[str, int]] = {}
        with env.read() as (txn, handles):
            for database, handle in zip(DATABASES, handles, strict=True):
                if handle:
                    found = txn.stat(handle)
                    pages = found["branch_pages"] + found["leaf_pages"] + found["overflow_pages"]
                    databases[database.name] = {
                        "rows": found["entries"],
                        "bytes": pages * found["psize"],
                    }
        runs: dict[str, int] = {}
        for _, row in Store(env).runs(on_bad=lambda error: None):
            runs[row.status] = runs.get(row.status, 0) + 1
        size = data_size(env.path)
        used = sum(each["bytes"] for each in databases.values())
        return {
            "path": env.path,
            "journal_id": env.journal_id,
            "created_ns": env.created_ns,
            "format": FORMAT_VERSION,
            "bytes": size,
            "free_bytes": max(0, size - used),
            "runs": runs,
            "payload_bytes": databases.get(DATABASES[PAYLOADS].name, {}).get("bytes", 0),
            "databases": databases,
        }


def find_run(store: Store, name: str) -> tuple[int, RunRow] | None:
    """A run by its workflow id (its last run), run id or number; None when there is none."""
    number = store.run_of(name)
    if number is None and name.isdecimal():
        number = int(name)
    row = store.run(number) if number is not None else None
    if number is not None and row is not None:
        return number, row
    return next((found for found in store.runs(texts=(name,)) if found[1].run_id == name), None)


def _copy(env: Environment, folder: str, place: Callable[[str, str], None] = os.replace) -> None:
    """A compact copy of an environment as `folder`'s data file, whole or not at all."""
    partial = os.path.join(folder, _PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    os.mkdir(partial)
    env.copy(partial)
    copied = os.path.join(partial, "data.mdb")
    place(copied, os.path.join(folder, "data.mdb"))
    os.rmdir(partial)
    _sync(folder)


def _replace(copied: str, data: str) -> None:
    faults.point(COMPACT_BEFORE)
    # It tells of transactions of the file that goes; whoever opens the new one makes a new one.
    os.unlink(os.path.join(os.path.dirname(data), "lock.mdb"))
    os.replace(copied, data)
    faults.point(COMPACT_AFTER)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
