"""Bringing an exported run into a journal, with the index rows that follow from its history."""

from __future__ import annotations

from typing import Final

from hosts import attributes
from hosts.durable import keys, replay
from hosts.durable.execution import Execution
from hosts.durable.readable import Imported
from journal.journal import Journal
from journal.unit import Unit
from runtime.errors import Kind, PerdureError

#: Records of a page.
_PAGE: Final = 200


def unit_of(journal: Journal, imported: Imported) -> tuple[int, Unit]:
    """The number that a run is to have in a journal, and the unit that puts it there.

    It comes without a parent. Raises PerdureError: ALREADY_EXISTS when the run is there, or its
    workflow id has an open one; CONFLICT for an open run that has asked for children, which would
    answer to the run in the journal that it came from.
    """
    # What follows on it is a run of the journal that it comes from, under a number of that.
    extra = {name: each for name, each in (imported.row.extra or {}).items() if name != "next"}
    row = imported.row._replace(parent=0, parent_seq=0, extra=extra or None)
    found = journal.runs(texts=(row.run_id,), on_bad=lambda error: None)
    if any(known.run_id == row.run_id for _, known in found):
        raise PerdureError(Kind.ALREADY_EXISTS, f"run {row.run_id} is in this journal already")
    current = journal.run_of(row.workflow_id)
    known = journal.run(current) if current is not None else None
    if known is not None and known.is_open:
        text = f"workflow {row.workflow_id} has an open run in this journal: end that first"
        raise PerdureError(Kind.ALREADY_EXISTS, text)
    number = journal.next_run()
    execution = Execution(number, row, f"{{{row.host}|{row.workflow_id}}}")
    replay.restore(execution, imported.records, imported.activities)
    unit = Unit()
    unit.put_run(number, row)
    attributes.index(number, {}, attributes.search_of(row), unit)
    if known is None or row.is_open or row.started_ns > known.started_ns:
        unit.put_id(row.workflow_id, number)
    for start in range(0, len(imported.records), _PAGE):
        unit.append(number, imported.records[start : start + _PAGE])
    for digest, blob in imported.sources.items():
        if blob is not None:
            unit.put_source(digest, blob)
    if row.is_open:
        _pend(execution, unit)
    else:
        unit.put_ended(number, row.ended_ns)
    for record in imported.records:
        for key in keys.of_record(row.host, record):
            told = record[0].startswith("started")
            unit.put_dedupe(key.encode(), row.workflow_id if told else True)
    return number, unit


def _pend(execution: Execution, unit: Unit) -> None:
    """The rows by which a boot finds what an open run waits for."""
    waits = [*execution.inherited, *(child.pid for child in execution.children.values())]
    waits += [each[2] for each in execution.requests.values() if each[0] == "child_requested"]
    if waits:
        raise PerdureError(
            Kind.CONFLICT,
            f"{execution.row.workflow_id} waits for children that report to it in the journal it "
            f"comes from ({', '.join(waits)}): let them end there, or terminate them, and export "
            "it again; nothing was imported",
        )
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
