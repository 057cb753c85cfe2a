"""Bringing an exported run into a journal, with the index rows that follow from its history.

A run is known by other numbers there: the word of its children to it, and the keys of messages
between runs that come together, are written with those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hosts import attributes
from hosts.durable import keys, replay
from hosts.durable.execution import Execution
from hosts.durable.readable import Imported
from hosts.durable.records import Record
from journal.journal import Journal
from journal.records import RunRow
from journal.unit import Unit
from runtime.errors import Kind, PerdureError

#: Records of a page.
_PAGE: Final = 200


def unit_of(journal: Journal, imported: Imported) -> tuple[int, Unit]:
    """The number that a run is to have in a journal, and the unit that puts it there, with the
    children that it waits for.

    It comes without a parent. Raises PerdureError: ALREADY_EXISTS when a run is there, or its
    workflow id has an open one; CONFLICT for an open run that waits for children which do not come
    with it: they would answer to the run in the journal that it came from.
    """
    numbers = {each.number: journal.next_run() for each in imported.family()}
    unit = Unit()
    _put(journal, imported, imported.row._replace(parent=0, parent_seq=0), numbers, unit)
    return numbers[imported.number], unit


def _put(
    journal: Journal, imported: Imported, row: RunRow, numbers: Mapping[int, int], unit: Unit
) -> None:
    # What follows on it is a run of the journal that it comes from, under a number of that.
    extra = {name: each for name, each in (row.extra or {}).items() if name != "next"}
    row = row._replace(extra=extra or None)
    found = journal.runs(texts=(row.run_id,), on_bad=lambda error: None)
    if any(known.run_id == row.run_id for _, known in found):
        raise PerdureError(Kind.ALREADY_EXISTS, f"run {row.run_id} is in this journal already")
    current = journal.run_of(row.workflow_id)
    known = journal.run(current) if current is not None else None
    if known is not None and known.is_open:
        text = f"workflow {row.workflow_id} has an open run in this journal: end that first"
        raise PerdureError(Kind.ALREADY_EXISTS, text)
    number = numbers[imported.number]
    execution = Execution(number, row, f"{{{row.host}|{row.workflow_id}}}")
    replay.restore(execution, imported.records, imported.activities)
    unit.put_run(number, row)
    attributes.index(number, {}, attributes.search_of(row), unit)
    if known is None or row.is_open or row.started_ns > known.started_ns:
        unit.put_id(row.workflow_id, number)
    elsewhere = imported.journal if imported.journal != journal.journal_id else None
    records = [_renumbered(record, elsewhere, numbers) for record in imported.records]
    for start in range(0, len(records), _PAGE):
        unit.append(number, records[start : start + _PAGE])
    for digest, blob in imported.sources.items():
        if blob is not None:
            unit.put_source(digest, blob)
    if row.is_open:
        _pend(execution, unit)
        _put_children(journal, imported, execution, numbers, unit)
    else:
        unit.put_ended(number, row.ended_ns)
    for record in records:
        for key in keys.of_record(row.host, record):
            told = record[0].startswith("started")
            unit.put_dedupe(key.encode(), row.workflow_id if told else True)


def _renumbered(record: Record, elsewhere: str | None, numbers: Mapping[int, int]) -> Record:
    """A record, its key in this journal's words.

    Args:
        elsewhere: id of the journal that it comes from, if that is another.
    """
    run, seq = keys.sender_of(record) or (0, 0)
    if run in numbers:
        return [*record[:4], keys.of_send(numbers[run], seq)]
    if run and elsewhere is not None:
        return [*record[:4], keys.of_message("", "", (elsewhere, run, seq))]
    return record


def _pend(execution: Execution, unit: Unit) -> None:
    """The rows by which a boot finds what an open run waits for."""
    run = execution.run
    execution.busy = False
    execution.mark(unit)
    for activity in execution.activities.values():
        if activity.kept:
            activity.keep(run, unit)
    for seq, due in execution.timers.items():
        unit.put_timer(run, seq, due)
    for seq in execution.requests:
        unit.put_outbox(run, seq, None)
    if execution.waiting or execution.suspended:
        unit.put_ready(run)


def _put_children(
    journal: Journal,
    imported: Imported,
    execution: Execution,
    numbers: Mapping[int, int],
    unit: Unit,
) -> None:
    """The children that an open run waits for, which report to it here."""
    asked = {
        seq: record[2]
        for seq, record in execution.requests.items()
        if record[0] == "child_requested"
    }
    awaited = {**asked, **{seq: child.pid for seq, child in execution.children.items()}}
    missing = [*execution.inherited, *(awaited[seq] for seq in awaited.keys() - imported.children)]
    if missing:
        raise PerdureError(
            Kind.CONFLICT,
            f"{execution.row.workflow_id} waits for children that report to it in the journal it "
            f"comes from ({', '.join(missing)}): let them end there, or terminate them, and export "
            "it again; nothing was imported",
        )
    for seq in awaited:
        child = imported.children[seq]
        row = child.row._replace(parent=execution.run, parent_seq=seq)
        _put(journal, child, row, numbers, unit)
        number = numbers[child.number]
        if seq in asked:
            # When the run asks again it gets this one.
            origin = (journal.journal_id, execution.run, seq)
            unit.put_dedupe(keys.of_start(journal.journal_id, origin).encode(), number)
        if not row.is_open:
            unit.put_outbox(number, 0, [execution.run, seq])
