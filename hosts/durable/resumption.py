"""Boot: what runs asked others for, and the crash left undone, is asked for again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hosts.durable.execution import Execution
from journal.errors import BadRecordError
from journal.records import RunRow
from journal.unit import Unit

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

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
            self._perform_requests(execution)

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
            self._perform_requests(execution)

    def _free_names(self, execution: Execution) -> None:
        """The names that a run asked for went with it: nobody would free them after its end."""
        unit = Unit()
        for seq, record in list(execution.requests.items()):
            if record[0] == "name_requested" and record[4] in (None, execution.pid):
                execution.settle(seq, unit)
        self._shard.submit(unit)

    def _perform_requests(self, execution: Execution) -> None:
        for record in list(execution.requests.values()):
            self._shard.outbox.perform_record(execution, record)
