"""Boot: what the last boot left undone is handed to the shards whose runs it is of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from hosts.durable.outbox import child_ended
from hosts.durable.shard import Shard
from journal.errors import BadRecordError
from journal.journal import Journal
from journal.records import RunRow
from runtime.inputs import Input

logger = logging.getLogger(__name__)


def recover(
    journal: Journal,
    row_of: Callable[[int], RunRow | None],
    owner_of: Callable[[int], Shard | None],
    deliver: Callable[[Input], None],
) -> None:
    """Have every run go on that is ready to step or has asked others for something.

    Args:
        row_of: how a run stands, None for one that cannot be read.
        owner_of: the shard of a run, None for one of another host.
        deliver: gives an input to a run of the host.
    """
    pending = dict.fromkeys(journal.ready(on_bad=_log))
    left: dict[int, list[int]] = {}
    for row in journal.outbox(on_bad=_log):
        left.setdefault(row.run, []).append(row.seq)
    for run, seqs in left.items():
        owner, run_row = owner_of(run), row_of(run)
        if run_row is None:
            continue
        if 0 in seqs and (parent := owner_of(run_row.parent)) is not None:
            # An ended child whose parent, a run of this host, has not taken note.
            parent_row = row_of(run_row.parent)
            assert parent_row is not None
            end = parent.runs.end_of_run(run)
            if end is not None:
                deliver(child_ended(parent_row, run, run_row, *end))
        if owner is None:
            continue
        if run_row.is_open:
            pending[run] = None
        elif seqs != [0]:
            owner.post(partial(owner.resumption.ended, run, run_row, seqs))
    for run in pending:
        owner = owner_of(run)
        if owner is not None:
            owner.post(partial(owner.resumption.open, run))


def busy(journal: Journal, owner_of: Callable[[int], Shard | None]) -> list[tuple[Shard, int]]:
    """Runs with activities that were running, each with its shard."""
    runs = ((owner_of(run), run) for run in journal.busy_runs(on_bad=_log))
    return [(owner, run) for owner, run in runs if owner is not None]


def _log(error: BadRecordError) -> None:
    logger.error("%s", error)
