"""The workloads on a Temporal dev server with its state in a file; see durable.py."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.idle import resident
from benchmarks.peers.durable import TEMPORAL_COMMAND
from benchmarks.peers.spread import percentiles

_QUEUE: Final = "bench"
#: Seconds for the server to take connections.
_START: Final = 60.0


@activity.defn
async def add(a: int, b: int) -> int:
    return a + b


@workflow.defn
class Trips:
    @workflow.run
    async def run(self, activities: int) -> int:
        total = 0
        for _ in range(activities):
            total = await workflow.execute_activity(
                add, args=[total, 1], start_to_close_timeout=timedelta(minutes=10)
            )
        return total


@workflow.defn
class Empty:
    @workflow.run
    async def run(self) -> bool:
        return True


@workflow.defn
class Signals:
    def __init__(self) -> None:
        self._received = 0

    @workflow.run
    async def run(self, count: int) -> None:
        await workflow.wait_condition(lambda: self._received >= count)

    @workflow.signal
    def n(self, number: int) -> None:
        self._received += 1

    @workflow.update
    def echo(self, number: int) -> int:
        self._received += 1
        return number


class Names:
    """Ids for workflows, none of them used twice."""

    def __init__(self) -> None:
        self._count = 0

    def next(self) -> str:
        self._count += 1
        return f"run-{self._count}"


_names: Final = Names()


async def _all(count: int, in_flight: int, one: Callable[[int], Awaitable[object]]) -> float:
    """Seconds for `count` calls of `one`, `in_flight` at a time."""
    slots = asyncio.Semaphore(in_flight)

    async def limited(number: int) -> None:
        async with slots:
            await one(number)

    begin = time.perf_counter()
    await asyncio.gather(*(limited(number) for number in range(count)))
    return time.perf_counter() - begin


async def _run(client: Client, kind: Any, *args: int) -> None:
    await client.execute_workflow(kind, args=args, id=_names.next(), task_queue=_QUEUE)


async def _trips(
    client: Client, _: Path, count: int, in_flight: int, activities: int
) -> dict[str, float]:
    seconds = await _all(count, in_flight, lambda _: _run(client, Trips.run, activities))
    return {"rate": count * activities / seconds}


async def _sequential(client: Client, _: Path, count: int) -> dict[str, float]:
    begin = time.perf_counter()
    await _run(client, Trips.run, count)
    return {"ms": (time.perf_counter() - begin) / count * 1e3}


async def _empty(client: Client, _: Path, count: int, in_flight: int) -> dict[str, float]:
    return {"rate": count / await _all(count, in_flight, lambda _: _run(client, Empty.run))}


async def _waiting(client: Client, count: int) -> Any:
    return await client.start_workflow(Signals.run, count, id=_names.next(), task_queue=_QUEUE)


async def _signals(client: Client, _: Path, count: int, in_flight: int) -> dict[str, float]:
    handle = await _waiting(client, count)
    begin = time.perf_counter()
    await _all(count, in_flight, lambda number: handle.signal(Signals.n, number))
    await handle.result()
    return {"rate": count / (time.perf_counter() - begin)}


async def _latency(client: Client, _: Path, count: int) -> dict[str, float]:
    handle = await _waiting(client, count)
    times = []
    for number in range(count):
        begin = time.perf_counter()
        await handle.execute_update(Signals.echo, number)
        times.append((time.perf_counter() - begin) * 1e3)
    return percentiles(times)


async def _disk(client: Client, folder: Path, count: int, activities: int) -> dict[str, float]:
    before = _compacted(folder)
    await _all(count, 20, lambda _: _run(client, Trips.run, activities))
    return {"bytes": (_compacted(folder) - before) / count}


def _compacted(folder: Path) -> int:
    target = folder / "compacted"
    target.unlink(missing_ok=True)
    with sqlite3.connect(_database(folder), timeout=60) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))
    return target.stat().st_size


async def _block(client: Client, _: Path, count: int) -> dict[str, float]:
    async def start(number: int) -> None:
        handle = await client.start_workflow(Signals.run, 1, id=f"w{number}", task_queue=_QUEUE)
        # Answered by the workflow itself: it has run, and waits.
        await handle.query("__stack_trace")

    seconds = await _all(count, 50, start)
    return {"rate": count / seconds, "MB": (resident() + _server.resident()) / 1e6}


async def _recover(client: Client, _: Path, count: int) -> dict[str, float]:
    async def finish(number: int) -> None:
        handle = client.get_workflow_handle(f"w{number}")
        await handle.signal(Signals.n, number)
        await handle.result()

    await _all(count, 50, finish)
    return {"ms": (time.perf_counter() - _BEGIN) * 1e3}


def _database(folder: Path) -> Path:
    return folder / "temporal.sqlite"


class Server:
    """The dev server, a child process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path) -> str:
        """Its address, on which it takes connections soon."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [str(TEMPORAL_COMMAND), "server", "start-dev", "--headless", "--ip", "127.0.0.1"]
        command += ["--port", str(port), "--db-filename", str(_database(folder))]
        self._process = subprocess.Popen(
            [*command, "--log-level", "error"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return f"127.0.0.1:{port}"

    def resident(self) -> int:
        """Bytes in memory."""
        return resident(self._process.pid) if self._process else 0

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()


_server: Final = Server()


@asynccontextmanager
async def _connected(address: str) -> AsyncIterator[Client]:
    begin = time.perf_counter()
    while True:
        try:
            client = await Client.connect(address)
            break
        except RuntimeError:
            if time.perf_counter() - begin > _START:
                raise
            await asyncio.sleep(0.02)
    async with Worker(
        client,
        task_queue=_QUEUE,
        workflows=[Trips, Empty, Signals],
        activities=[add],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield client


_WORKLOADS: Final[dict[str, Callable[..., Awaitable[dict[str, float]]]]] = {
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


async def _main(workload: str, folder: Path, *numbers: int) -> None:
    async with _connected(_server.start(folder)) as client:
        # The first workflow waits until the server has all of itself together.
        if workload != "recover":
            await _run(client, Empty.run)
        print(json.dumps(await _WORKLOADS[workload](client, folder, *numbers)), flush=True)
        if workload == "block":
            await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(_main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])))
    finally:
        _server.stop()
    sys.stdout.flush()
    os._exit(0)
