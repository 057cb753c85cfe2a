"""Trying code on a history: whether it gives the same commands, and calls what is there."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from typing import NamedTuple

from hosts.durable import replay
from hosts.durable.execution import Execution
from hosts.durable.records import Record
from journal.records import RunRow
from runtime import inputs
from runtime.lua.machine import Machine, OutOfMemoryError

#: Bytes after which a machine that tried many runs gives back what they left.
_COLLECT_AT = 64 << 20

_CALLS = frozenset({"activity_scheduled", "child_requested"})


class Verdict(NamedTuple):
    """What came of trying code on a run.

    Attributes:
        problem: how code and history differ, and where in the source; "" when they do not.
        recorded, attempted: the command in the history, and that of the code; "" where none is.
        source: "file:line" of what the code did, "" where that is not known.
        pending: entries that are not there, and were called without a result so far.
        called: those that the run has called before, and may call again.
    """

    problem: str = ""
    recorded: str = ""
    attempted: str = ""
    source: str = ""
    pending: tuple[str, ...] = ()
    called: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the code can carry the run on."""
        return not (self.problem or self.pending or self.called)


class Trial:
    """Tries code, on a machine of its own; nothing is written or performed.

    Args:
        make_machine: makes a machine with all definitions.
        known: the entries that there are.
    """

    def __init__(self, make_machine: Callable[[], Machine], known: Container[str]) -> None:
        self._make_machine = make_machine
        self._machine = make_machine()
        self._known = known

    def run(self, row: RunRow, recorded: Callable[[], Iterable[Record]]) -> Verdict:
        """Try the code of a run's entry on its history.

        Args:
            recorded: gives the records of the history, each time it is called.
        """
        if row.entry not in self._known:
            return Verdict(f"{row.entry} is not there any more")
        execution = Execution(0, row, f"{{{row.host}|{row.workflow_id}}}")
        called: dict[str, None] = {}
        machine = self._machine
        try:
            noted = _noting(recorded(), called)
            mismatch = replay.replay(execution, noted, {}, machine, lambda started: row.entry)
            machine.step([inputs.drop(execution.pid)], 0)
            if mismatch is not None:
                mismatch.source = replay.source_line(
                    execution, recorded(), machine, mismatch.position
                )
                machine.step([inputs.drop(execution.pid)], 0)
        except OutOfMemoryError as error:
            self._machine = self._make_machine()
            return Verdict(f"its replay fills the VM ({error})")
        if machine.memory > _COLLECT_AT:
            machine.collect()
        pending = [each.record[2] for each in execution.activities.values()]
        missing = [target for target in called if target not in self._known]
        verdict = Verdict(
            pending=tuple(sorted({target for target in pending if target not in self._known})),
            called=tuple(sorted(missing)),
        )
        if mismatch is None:
            return verdict
        return verdict._replace(
            problem=str(mismatch),
            recorded=mismatch.shown_recorded,
            attempted=mismatch.shown_attempted,
            source=mismatch.source,
        )


def _noting(recorded: Iterable[Record], called: dict[str, None]) -> Iterator[Record]:
    for record in recorded:
        if record[0] in _CALLS:
            called[record[2]] = None
        yield record
