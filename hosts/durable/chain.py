"""How a run goes on as another of its workflow id: as new, as a retry, or by the clock.

The end of a run and the start of its successor are one transaction, so no crash can come between
them. Whoever waits for the end (a parent run, monitors, those who asked for the result) waits for
that of the last.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from hosts import cron
from hosts.durable.beginnings import Beginning
from hosts.durable.execution import Execution
from hosts.durable.records import Record
from journal import faults
from journal.unit import Unit
from runtime import commands as c
from runtime.codec import decode
from runtime.errors import PerdureError

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

logger = logging.getLogger(__name__)

START_BEFORE: Final = faults.declare("host.chain.before")

#: What a run's row keeps for its successor's.
_KEPT: Final = frozenset({"search", "memo", "origin", "watcher"})


class Chain:
    """Makes the successors of a shard's runs. Used on the shard's thread."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def upgraded(
        self, execution: Execution, command: c.Upgrade, unit: Unit, page: list[Record]
    ) -> Execution:
        """The run goes on as new, with what it has not read and the children it has.

        Raises PerdureError NOT_FOUND when the entry does not exist any more.
        """
        following = self._next(execution, self._started(execution, page))._replace(
            entry=command.entry,
            args=command.args,
            messages=[list(message) for message in command.messages],
            children=[list(child) for child in self._shard.outbox.open_children(execution)],
        )
        return self._follow(following, unit)

    def repeated(
        self,
        execution: Execution,
        end: Record,
        unit: Unit,
        page: list[Record],
        unread: Sequence[Sequence[Any]],
    ) -> Execution | None:
        """What follows on a run that ended: another attempt, the next of its schedule, or None.

        Args:
            end: completed, failed or timed_out; others are the last word.
            unread: the messages that go on with it, as `Beginning.carried` has them.
        """
        rules = execution.rules
        if end[0] not in ("completed", "failed", "timed_out") or (rules.retry, rules.cron) == (
            None,
            None,
        ):
            return None
        now = self._shard.deadlines.wall()
        started = self._started(execution, page)
        attempt = started["info"]["attempt"]
        delay = None
        if end[0] != "completed" and rules.retry is not None:
            delay = rules.retry.delay(attempt, decode(end[1]))
        if delay is not None:
            begins, attempt = now + delay, attempt + 1
        elif rules.cron is not None:
            begins, attempt = cron.next_ns(rules.cron, now), 1
        else:
            return None
        if rules.execution_deadline is not None and begins >= rules.execution_deadline:
            return None
        following = self._next(execution, started)._replace(
            begins=begins, attempt=attempt, carried=[list(message) for message in unread]
        )
        try:
            return self._follow(following, unit)
        except PerdureError as error:
            logger.error("%s does not go on: %s", execution.pid, error)
            return None

    def heir(self, run: int) -> Execution | None:
        """The open run that an upgraded one has become; None when there is none."""
        runs = self._shard.runs
        row = runs.row_of_run(run)
        while row is not None and row.status == "continued":
            run = (row.extra or {}).get("next", 0)
            row = runs.row_of_run(run)
        return runs.find_run(run)

    def last(self, run: int) -> tuple[int, Execution | None]:
        """The last of the runs that go on for one another, and it in memory if it is open."""
        runs = self._shard.runs
        row = runs.row_of_run(run)
        while row is not None and (following := (row.extra or {}).get("next")):
            run, row = following, runs.row_of_run(following)
        return run, runs.find_run(run)

    def _follow(self, following: Beginning, unit: Unit) -> Execution:
        """Put the start of a successor into the unit that ends its predecessor."""
        shard = self._shard
        execution, started = shard.beginnings.make(following, unit)
        faults.point(START_BEFORE)
        shard.beginnings.index(execution, unit)
        unit.put_run(execution.run, execution.row)
        unit.append(execution.run, [started])
        execution.count([started])
        execution.waiting.append(started)
        execution.used = shard.flights.sent + 1
        if not execution.dormant:
            unit.put_ready(execution.run)
        return execution

    def _started(self, execution: Execution, page: list[Record]) -> dict[str, Any]:
        """What a run began with; `page` is what is being written of it."""
        own = [*page, *execution.waiting]
        found = [record[1] for record in own if record[0] == "started"]
        if not found:
            self._shard.flights.wait()
            found = [next(self._shard.journal.records(execution.run))[1]]
        started: dict[str, Any] = found[0]
        return started

    def _next(self, execution: Execution, started: dict[str, Any]) -> Beginning:
        """A run like this one."""
        row = execution.row
        kept = {name: value for name, value in (row.extra or {}).items() if name in _KEPT}
        return Beginning(
            row.workflow_id,
            row.entry,
            started["args"],
            started.get("context"),
            [list(message) for message in started.get("messages", ())],
            started["parent"],
            row.parent,
            row.parent_seq,
            kept or None,
            execution.rules,
        )
