"""The workload of the journal's crash tests, a model of what it leaves, and the child that runs it.

Unit `i` is a function of `i` alone and the writer commits in order, so whatever a crash leaves must
be the model after some number of whole units: `model(k)` says what is there after the first `k`.

Run as `python -m tests.journal_workload PATH UNITS`, it goes on where the journal stands, writes
"ack I" to standard output for each unit that is on disk, and "refused I" for one that failed.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from threading import Semaphore
from typing import Any

from journal.journal import Journal
from journal.records import RunRow
from journal.store import Store, Timer
from journal.unit import Unit
from tests.crash import bugs

#: Units that start, carry on and end a run; every run takes so many.
STEPS = 4
#: A map that this workload outgrows; LMDB's own pages need most of it.
MAP_SIZE = 128 << 10
#: Units on their way at once, so that there are many transactions, and some of several units.
IN_FLIGHT = 5

Contents = dict[str, Any]


def unit(i: int) -> Unit:
    """Unit `i`, counted from 0: one of four steps in the life of run `i // STEPS + 1`."""
    made, run, now = Unit(), i // STEPS + 1, 1000 + i
    made.append(run, _records(i))
    match i % STEPS:
        case 0:
            made.put_run(run, _row(run, "open"))
            made.put_id(_workflow_id(run), run)
            made.put_source(b"digest%d" % (run % 3), b"source" * 100)
            made.put_source(b"own%d" % run, b"source")
            made.put_name(f"name {run}", run)
            made.put_dedupe(b"key%d" % run, ["spawned", run])
            made.put_ready(run)
            made.put_search(run, "state", "open")
            made.put_search(run, "number", run)
        case 1:
            made.del_ready(run)
            made.put_timer(run, 5, now + 500)
            made.put_busy(run)
            made.put_activity(run, 6, ["app:charge", run])
            made.put_outbox(run, 7, ["to", "topic", b"payload"])
        case 2:
            made.del_timer(run, 5, now - 1 + 500)
            made.del_busy(run)
            made.del_activity(run, 6)
            made.del_outbox(run, 7)
            made.put_outbox(run, 9, ["to", "topic", b"payload"])
        case _:
            made.put_run(run, _row(run, "completed"))
            made.put_ended(run, now)
            made.del_search(run, "state", "open")
            made.put_search(run, "state", "completed")
            made.del_name(f"name {run}")
            made.del_dedupe(b"key%d" % run)
            made.mark_sources()
            made.del_source(b"own%d" % run)
            made.put_clock(now, run)
            if run > 3:
                made.delete_run(run - 3)
    return made


def model(units: int) -> Contents:
    """What the journal holds after the first `units` units, as `contents` shows it."""
    runs: dict[int, RunRow] = {}
    ids: dict[str, int] = {}
    history: dict[int, list[Any]] = defaultdict(list)
    timers: set[Timer] = set()
    busy: set[int] = set()
    activities: set[tuple[int, int]] = set()
    outbox: set[tuple[int, int]] = set()
    ready: set[int] = set()
    names: dict[str, int] = {}
    dedupe: dict[bytes, Any] = {}
    ended: set[tuple[int, int]] = set()
    sources: set[int] = set()
    clock: tuple[int, int] | None = None
    for i in range(units):
        run, now = i // STEPS + 1, 1000 + i
        history[run] += _records(i)
        match i % STEPS:
            case 0:
                runs[run] = _row(run, "open")
                ids[_workflow_id(run)] = run
                names[f"name {run}"] = run
                dedupe[b"key%d" % run] = ["spawned", run]
                ready.add(run)
                sources.add(run)
            case 1:
                ready.remove(run)
                timers.add(Timer(now + 500, run, 5))
                busy.add(run)
                activities.add((run, 6))
                outbox.add((run, 7))
            case 2:
                timers.remove(Timer(now - 1 + 500, run, 5))
                busy.remove(run)
                activities.remove((run, 6))
                outbox.remove((run, 7))
                outbox.add((run, 9))
            case _:
                runs[run] = _row(run, "completed")
                ended.add((now, run))
                sources.remove(run)
                clock = (now, run)
                del names[f"name {run}"], dedupe[b"key%d" % run]
                if (old := run - 3) > 0:
                    del runs[old], ids[_workflow_id(old)], history[old]
                    outbox = {place for place in outbox if place[0] != old}
                    ended = {place for place in ended if place[1] != old}
    started = range(1, -(-units // STEPS) + 1)
    return {
        "runs": runs,
        "highest": max(started, default=0),
        "ids": {_workflow_id(run): ids.get(_workflow_id(run)) for run in started},
        "history": {run: list(enumerate(history.get(run, []), 1)) for run in started},
        "timers": sorted(timers),
        "busy": sorted(busy),
        "activities": sorted(activities),
        "outbox": sorted(outbox),
        "ready": sorted(ready),
        "names": {f"name {run}": names.get(f"name {run}") for run in started},
        "dedupe": {b"key%d" % run: dedupe.get(b"key%d" % run) for run in started},
        "sources": sorted({run % 3 for run in started}),
        "own sources": sorted(sources),
        "clock": clock,
        "ended": sorted(ended),
        "search": {
            state: [run for run in sorted(runs) if runs[run].status == state]
            for state in ("open", "completed")
        },
        "numbers": sorted(runs),
    }


def contents(store: Store) -> Contents:
    """Everything the workload can have written, read through the store."""
    started = range(1, store.highest_run() + 1)
    return {
        "runs": dict(store.runs()),
        "highest": store.highest_run(),
        "ids": {_workflow_id(run): store.run_of(_workflow_id(run)) for run in started},
        "history": {run: store.history(run) for run in started},
        "timers": store.timers_due(),
        "busy": store.busy_runs(),
        "activities": [(run, seq) for run, seq, _ in store.activities()],
        "outbox": [(run, seq) for run, seq, _ in store.outbox()],
        "ready": list(store.ready()),
        "names": {f"name {run}": store.name(f"name {run}") for run in started},
        "dedupe": {b"key%d" % run: store.dedupe(b"key%d" % run) for run in started},
        "sources": [n for n in range(3) if store.source(b"digest%d" % n)],
        "own sources": [run for run in started if store.source(b"own%d" % run)],
        "clock": store.clock(),
        "ended": store.ended(2**63),
        "search": {
            state: list(store.found("state", state, "=")) for state in ("open", "completed")
        },
        "numbers": list(store.found("number", 0, ">=")),
    }


def committed(store: Store) -> int:
    """How many units are there, going by the last record of the last run."""
    highest = store.highest_run()
    return (highest - 1) * STEPS + len(list(store.pages(highest))) if highest else 0


def _records(i: int) -> list[list[Any]]:
    # The size of the payload makes the map grow, and differs so that pages do.
    records: list[list[Any]] = [["step", i, n, b"x" * (i * 7919 % 3000)] for n in range(i % 3 + 1)]
    # Large ones that two runs share.
    return records + [["message", b"%d" % (i // STEPS // 2) * 5000]] * (i % STEPS == 2)


def _row(run: int, status: str) -> RunRow:
    ended = 1000 + run * STEPS - 1 if status == "completed" else 0
    extra = {"search": {"state": status, "number": run}}
    return RunRow(
        _workflow_id(run), f"uuid-{run}", "app:order", "app:host", status, 1, ended, extra=extra
    )


def _workflow_id(run: int) -> str:
    return f"order-{run}" if run % 2 else f"{'order' * 120}-{run}"


def main() -> None:
    """Submit all units one behind the other, and say what became of each."""
    bugs.plant()
    path, units = sys.argv[1], int(sys.argv[2])
    window = Semaphore(IN_FLIGHT)
    with Journal.open(path, map_size=MAP_SIZE) as journal:
        for i in range(committed(journal), units):

            def done(error: Exception | None, i: int = i) -> None:
                os.write(1, f"{'refused' if error else 'ack'} {i}\n".encode())
                window.release()

            window.acquire()
            journal.submit(unit(i), done)


if __name__ == "__main__":
    main()
