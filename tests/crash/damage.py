"""Reads damaged copies of a journal: `python -m tests.crash.damage SOUND SCRATCH`.

For each line of standard input, {"flip": bit number} or {"cut": bytes that are left}, it damages a
copy of the journal in the folder SOUND, opens it as a node would, reads everything, and writes what
came of it as one line of JSON. Damage to LMDB's own pages may take this process down.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from journal.errors import JournalError
from journal.journal import Journal
from journal.store import Store
from journal.verify import verify
from tests.journal_workload import STEPS, model

UNITS = 60

Pass = Callable[[Any], None]


class Reader:
    """Compares what a store says with what was written."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.wrong: list[str] = []
        self.missing: list[str] = []
        self.refused: list[str] = []

    def one(self, what: str, read: Callable[[], Any], truth: Any) -> None:
        """A thing that is right, refused, or not there."""
        try:
            found = read()
        except JournalError as error:
            self.refused.append(f"{what}: {error}")
            return
        if found == truth:
            return
        nothing = found is None or found == [] or found == 0
        (self.missing if nothing else self.wrong).append(
            f"{what}: {found!r:.80}, not {truth!r:.80}"
        )

    def history(self, run: int, truth: list[Any]) -> None:
        """Records may be missing behind a point, never before one."""
        found: list[Any] = []
        try:
            for page in self.store.pages(run):
                found += page
        except JournalError as error:
            self.refused.append(f"history of {run}: {error}")
        if found != truth[: len(found)]:
            self.wrong.append(f"history of {run}: {found!r:.80}")
        elif len(found) < len(truth):
            self.missing.append(f"history of {run}: {len(truth) - len(found)} records at its end")

    def many(self, what: str, read: Callable[[Pass], Iterable[Any]], truth: Iterable[Any]) -> None:
        """Rows, each of which is right, refused, or not there."""
        expected = list(truth)
        found: list[Any] = []
        try:
            for row in read(lambda error: self.refused.append(f"{what}: {error}")):
                found.append(row)
        except JournalError as error:
            self.refused.append(f"{what}: {error}")
        self.wrong += [f"{what}: {row!r:.80}" for row in found if row not in expected]
        if len(set(map(repr, found))) < len(found):
            self.wrong.append(f"{what}: a row came twice")
        self.missing += [f"{what}: {row!r:.80}" for row in expected if row not in found]

    def read(self, truth: dict[str, Any]) -> None:
        store = self.store
        self.one("highest run", store.highest_run, truth["highest"])
        self.many("runs", lambda bad: store.runs(on_bad=bad), truth["runs"].items())
        for run, row in truth["runs"].items():
            self.one(f"run {run}", partial(store.run, run), row)
        for name, run in truth["ids"].items():
            self.one(f"id {name:.20}", partial(store.run_of, name), run)
        for run, records in truth["history"].items():
            self.history(run, records)
        self.many("timers", lambda bad: store.timers_due(on_bad=bad), truth["timers"])
        for what in ("activities", "outbox"):
            self.many(what, partial(_places, getattr(store, what)), truth[what])
        self.many("ready", lambda bad: store.ready(bad), truth["ready"])
        self.many("ended", lambda bad: store.ended(2**63, on_bad=bad), truth["ended"])
        for name, value in truth["names"].items():
            self.one(f"name {name}", partial(store.name, name), value)
        for key, value in truth["dedupe"].items():
            self.one(f"key {key}", partial(store.dedupe, key), value)
        for number in truth["sources"]:
            digest = b"digest%d" % number
            self.one(f"source {number}", partial(store.source, digest), b"source" * 100)


def _places(rows: Callable[[Pass], Iterable[Any]], bad: Pass) -> Iterable[Any]:
    return (row[:2] for row in rows(bad))


def examine(folder: Path, truth: dict[str, Any]) -> dict[str, Any]:
    """What a node would see of a journal."""
    try:
        journal = Journal.open(folder)
    except JournalError as error:
        return {"refused": [f"opening: {error}"], "wrong": [], "missing": [], "findings": 1}
    with journal:
        reader = Reader(journal)
        reader.read(truth)
        try:
            findings = len(verify(journal))
        except JournalError:
            findings = 1
    return {
        "refused": reader.refused,
        "wrong": reader.wrong,
        "missing": reader.missing,
        "findings": findings,
    }


def main() -> None:
    sound, scratch = Path(sys.argv[1]), Path(sys.argv[2])
    whole = (sound / "data.mdb").read_bytes()
    truth = model(UNITS)
    for line in sys.stdin:
        damage = json.loads(line)
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(sound, scratch)
        if "flip" in damage:
            place, bit = divmod(damage["flip"], 8)
            hurt = bytearray(whole)
            hurt[place] ^= 1 << bit
        else:
            hurt = bytearray(whole[: damage["cut"]])
        (scratch / "data.mdb").write_bytes(hurt)
        sys.stdout.write(json.dumps(examine(scratch, truth)) + "\n")
        sys.stdout.flush()


assert UNITS % STEPS == 0

if __name__ == "__main__":
    main()
