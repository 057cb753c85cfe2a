"""Boot: what runs asked others for, and the crash left undone, is asked for again."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from hosts.durable.execution import Execution
from hosts.durable.records import Record
from journal.errors import BadRecordError
from journal.records import RunRow
from journal.unit import Unit

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

#: How long what was asked for before a crash waits for its host, and between two looks for it, ns.
_PATIENCE_NS: Final = 30_000_000_000
_LOOK_NS: Final = 50_000_000

logger = logging.getLogger(__name__)


class Resumption:
    """Resumes the runs of a shard. Used on the shard's thread."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def open(self, run: int) -> None:
        """Bring a run back that has something pending."""
        try:
            execution = self._shard.runs.find_run(run)
        except BadRecordError as error:
            host = self._shard.parts.host_id
            logger.error("run %d of %s is not resumed: %s", run, host, error)
            return
        if execution is not None:
            self._ask_again(execution)

    def ended(self, run: int, row: RunRow, seqs: list[int]) -> None:
        """Do what a run asked for in its last step."""
        shard = self._shard
        execution = Execution(run, row, shard.runs.pid_of(row))
        execution.ended = True
        for _, record in shard.journal.history(run):
            if len(record) > 1 and record[1] in seqs and execution.is_request(record):
                execution.requests[record[1]] = record
        if shard.chain.last(run)[1] is None:
            self._free_names(execution)
        if execution.requests:
            shard.endings.orphans[run] = execution
            self._ask_again(execution)

    def _free_names(self, execution: Execution) -> None:
        """The names that a run asked for went with it: nobody would free them after its end."""
        unit = Unit()
        for seq, record in list(execution.requests.items()):
            if record[0] == "name_requested" and record[4] in (None, execution.pid):
                execution.settle(seq, unit)
        self._shard.submit(unit)

    def _ask_again(self, execution: Execution) -> None:
        until = self._shard.deadlines.monotonic() + _PATIENCE_NS
        self._perform(execution.run, list(execution.requests.values()), until)

    def _perform(self, run: int, records: list[Record], until: int) -> None:
        """Perform requests in their order. Hosts come up one after the other: what is for one that
        is not up yet waits for it until a monotonic time, with what was asked after it."""
        shard = self._shard
        execution = shard.endings.orphans.get(run) or shard.runs.find_run(run)
        if execution is None:
            return
        for place, record in enumerate(records):
            if record[1] not in execution.requests:
                continue
            if not shard.outbox.reaches(record) and shard.deadlines.monotonic() < until:
                again = partial(self._perform, run, records[place:], until)
                shard.deadlines.after(_LOOK_NS, partial(shard.post, again))
                return
            shard.outbox.perform_record(execution, record)
