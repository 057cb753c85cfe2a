"""Trying an application's code on the open runs of a journal, which is only read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from hosts.definitions import definitions
from hosts.durable.records import Record
from hosts.durable.trial import Trial, Verdict
from journal.environment import Environment
from journal.errors import BadRecordError
from journal.journal import MAP_SIZE
from journal.records import OPEN_STATUSES, RunRow
from journal.store import Store
from runtime.clock import SystemClock
from runtime.config.registry import Registry
from runtime.lua.machine import Machine


class Tried(NamedTuple):
    """An open run, and what came of trying the code on it.

    Attributes:
        versioning: what its entry says now; "" when that is gone.
    """

    number: int
    row: RunRow
    versioning: str
    verdict: Verdict

    def plain(self) -> dict[str, Any]:
        """For a program."""
        return {
            "workflow_id": self.row.workflow_id,
            "run_id": self.row.run_id,
            "entry": self.row.entry,
            "host": self.row.host,
            "status": self.row.status,
            "versioning": self.versioning,
            "fits": self.verdict.fits,
            **self.verdict._asdict(),
        }

    def effect(self) -> str:
        """What becomes of the run when a node with this code opens the journal."""
        if self.verdict.fits:
            return "goes on"
        if not self.verdict.problem:
            return "goes on; such calls fail with NotFound"
        parked = "is parked until code that fits is loaded"
        return parked if self.versioning == "latest" else "goes on, on the source it is pinned to"


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[Store]:
    """A journal that a node may own, to be read only. Raises JournalError."""
    env = Environment(os.path.abspath(path), MAP_SIZE, readonly=True)
    try:
        yield Store(env)
    finally:
        env.close()


def new_trial(registry: Registry) -> Trial:
    """A trial of the code of an application."""
    known = definitions(registry)

    def machine() -> Machine:
        made = Machine("check", "{check|", SystemClock())
        made.define(known)
        return made

    return Trial(machine, frozenset(entry.id for entry in registry.all()))


def trials(registry: Registry, store: Store) -> Iterator[Tried]:
    """Try the code of an application on each open run of a journal."""
    trial = new_trial(registry)
    # `journal verify` tells of rows that are hurt.
    for number, row in store.runs(texts=OPEN_STATUSES, on_bad=lambda error: None):
        if not row.is_open:
            continue
        entry = registry.get(row.entry) if row.entry in registry else None
        versioning = entry.data.get("versioning", "") if entry is not None else ""

        def recorded(number: int = number) -> Iterator[Record]:
            return store.records(number)

        try:
            verdict = trial.run(row, recorded)
        except BadRecordError as error:
            verdict = Verdict(str(error))
        yield Tried(number, row, versioning, verdict)
