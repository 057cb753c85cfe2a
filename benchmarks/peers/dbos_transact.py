"""The workloads on DBOS Transact; see durable.py."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from dbos import DBOS, SetWorkflowID

from benchmarks.idle import resident
from benchmarks.peers.spread import percentiles

#: Seconds that a workflow waits for a signal; the default is one minute.
_FOREVER: Final = 1e6


@DBOS.step()
def add(a: int, b: int) -> int:
    return a + b


@DBOS.workflow()
def trips(activities: int) -> int:
    total = 0
    for _ in range(activities):
        total = add(total, 1)
    return total


@DBOS.workflow()
def empty() -> bool:
    return True


@DBOS.workflow()
def signals(count: int) -> None:
    for _ in range(count):
        DBOS.recv("n", timeout_seconds=_FOREVER)


@DBOS.workflow()
def echo(count: int) -> None:
    for number in range(count):
        DBOS.recv("n", timeout_seconds=_FOREVER)
        DBOS.set_event(f"answer {number}", number)


def _all(start: Callable[[], Any], count: int, in_flight: int) -> float:
    """Seconds for `count` workflows from their start to their result, `in_flight` at a time."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(in_flight) as threads:
        for done in [threads.submit(lambda: start().get_result()) for _ in range(count)]:
            done.result()
    return time.perf_counter() - begin


def _each(workers: int, call: Callable[[int], object], numbers: Iterable[int]) -> None:
    with ThreadPoolExecutor(workers) as threads:
        for done in [threads.submit(call, number) for number in numbers]:
            done.result()


def _trips(_: Path, count: int, in_flight: int, activities: int) -> dict[str, float]:
    seconds = _all(lambda: DBOS.start_workflow(trips, activities), count, in_flight)
    return {"rate": count * activities / seconds}


def _sequential(_: Path, count: int) -> dict[str, float]:
    begin = time.perf_counter()
    DBOS.start_workflow(trips, count).get_result()
    return {"ms": (time.perf_counter() - begin) / count * 1e3}


def _empty(_: Path, count: int, in_flight: int) -> dict[str, float]:
    return {"rate": count / _all(lambda: DBOS.start_workflow(empty), count, in_flight)}


def _signals(_: Path, count: int, in_flight: int) -> dict[str, float]:
    handle = DBOS.start_workflow(signals, count)
    begin = time.perf_counter()
    _each(in_flight, lambda number: DBOS.send(handle.workflow_id, number, "n"), range(count))
    handle.get_result()
    return {"rate": count / (time.perf_counter() - begin)}


def _latency(_: Path, count: int) -> dict[str, float]:
    handle = DBOS.start_workflow(echo, count)
    times = []
    for number in range(count):
        begin = time.perf_counter()
        DBOS.send(handle.workflow_id, number, "n")
        DBOS.get_event(handle.workflow_id, f"answer {number}", timeout_seconds=_FOREVER)
        times.append((time.perf_counter() - begin) * 1e3)
    return percentiles(times)


def _disk(folder: Path, count: int, activities: int) -> dict[str, float]:
    before = _compacted(folder)
    _all(lambda: DBOS.start_workflow(trips, activities), count, 20)
    return {"bytes": (_compacted(folder) - before) / count}


def _compacted(folder: Path) -> int:
    target = folder / "compacted"
    target.unlink(missing_ok=True)
    with sqlite3.connect(_database(folder)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))
    return target.stat().st_size


def _block(_: Path, count: int) -> dict[str, float]:
    begin = time.perf_counter()
    for number in range(count):
        with SetWorkflowID(f"w{number}"):
            DBOS.start_workflow(signals, 1)
    return {"rate": count / (time.perf_counter() - begin), "MB": resident() / 1e6}


def _recover(_: Path, count: int) -> dict[str, float]:
    def finish(number: int) -> None:
        DBOS.send(f"w{number}", number, "n")
        DBOS.retrieve_workflow(f"w{number}").get_result()

    _each(50, finish, range(count))
    return {"ms": (time.perf_counter() - _BEGIN) * 1e3}


def _database(folder: Path) -> Path:
    return folder / "dbos.sqlite"


_WORKLOADS: Final[dict[str, Callable[..., dict[str, float]]]] = {
    "trips": _trips,
    "sequential": _sequential,
    "empty": _empty,
    "signals": _signals,
    "latency": _latency,
    "disk": _disk,
    "block": _block,
    "recover": _recover,
}

_BEGIN: Final = time.perf_counter()


def main() -> None:
    workload, folder = sys.argv[1], Path(sys.argv[2])
    DBOS(
        config={
            "name": "bench",
            "application_version": "1",
            "system_database_url": f"sqlite:///{_database(folder)}",
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    print(json.dumps(_WORKLOADS[workload](folder, *map(int, sys.argv[3:]))), flush=True)
    if workload == "block":
        threading.Event().wait()
    DBOS.destroy()


if __name__ == "__main__":
    main()
