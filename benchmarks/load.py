"""Load from outside: requests of which a fixed number is under way at any time."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from runtime.codec import decode, encode_args
from runtime.inputs import ReplyTo, StartOptions
from runtime.routing.router import SpawnRequest
from supervision import Node

#: Called once with (ok, encoded value), on any thread.
Answered = Callable[[bool, bytes], None]


def closed_loop(total: int, in_flight: int, begin: Callable[[int, Answered], None]) -> float:
    """Seconds until `total` requests are answered; each answer begins the next one.

    `begin(number, answered)` begins request `number`, from 0 on, and does not wait; it may be
    called on any thread. Raises the first error that comes as an answer.
    """
    numbers = iter(range(total))
    answers = itertools.count(1)
    finished = threading.Event()
    failures: list[Any] = []

    def begin_next() -> None:
        for number in itertools.islice(numbers, 1):
            begin(number, answered)

    def answered(ok: bool, value: bytes) -> None:
        if not ok:
            failures.append(decode(value))
        if failures or next(answers) == total:
            finished.set()
        else:
            begin_next()

    start = time.perf_counter()
    for _ in range(in_flight):
        begin_next()
    finished.wait()
    seconds = time.perf_counter() - start
    if failures:
        raise failures[0]
    return seconds


def signal(node: Node, pid: str, answered: Answered) -> None:
    """Send a message without payload to a workflow."""
    node.router.send(pid, "signal", "", encode_args(()), node.clients.expect(answered))


def start_workflows(node: Node, entry: str, total: int, in_flight: int) -> float:
    """Seconds until `total` workflows are acknowledged, on bench:host; their ids are w0, w1, …"""

    def begin(number: int, answered: Answered) -> None:
        start: StartOptions = {"reply": node.clients.expect(answered)}
        settings = {"workflow.id": f"w{number}"}
        node.router.spawn(
            SpawnRequest(entry, "bench:host", encode_args([]), start, settings=settings)
        )

    return closed_loop(total, in_flight, begin)


def run_workflows(node: Node, entry: str, total: int, in_flight: int, *args: Any) -> float:
    """Seconds for `total` workflows from their start to their result, on the host bench:host."""
    payload = encode_args(args)

    def begin(_: int, answered: Answered) -> None:
        outcome: ReplyTo = node.clients.expect(answered)
        node.router.spawn(SpawnRequest(entry, "bench:host", payload, {"outcome": outcome}))

    return closed_loop(total, in_flight, begin)
