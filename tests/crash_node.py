"""Nodes to be killed by `kill -9`, each a process of its own: `python -m tests.crash_node SOCKET
[MODULE…]`.

The process started so imports the modules, and forks one child for every connection to its Unix
socket, so that a node costs no start of the interpreter. The first line of a connection says what
to boot ({"app", "overrides", "fault", "wall", "limit"}), the first answer is {"pid"}, the second
{"ready": true} or {"refused": text}. After that each line is a request {"id", "op", …} for one of
`Session`'s methods, answered by {"id", "value"} or {"id", "error": [kind, message, retryable,
details]}, in whatever order they get done.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import cached_property
from typing import Any

from hosts.durable import keys
from hosts.modules.events import Subscription
from journal import faults
from runtime.clock import SystemClock
from runtime.codec import decode
from runtime.errors import PerdureError
from supervision import Node
from supervision.control import workflows as operations
from supervision.runs import host_of
from tests.crash import bugs


class ShiftedClock(SystemClock):
    """The machine's clock, shifted by what a test asks for."""

    def __init__(self, wall: int) -> None:
        self.shift = wall
        self.elapsed = 0
        self.frozen: int | None = None

    def wall(self) -> int:
        return (self.frozen or time.time_ns()) + self.shift

    def monotonic(self) -> int:
        return time.monotonic_ns() + self.elapsed


class Session:
    """A node and the connection that drives it."""

    def __init__(self, node: Node, clock: ShiftedClock, say: Callable[[dict[str, Any]], None]):
        self.node = node
        self._clock = clock
        self._say = say
        self._lock = threading.Lock()

    def _answer(self, answer: dict[str, Any]) -> None:
        with self._lock:
            self._say(answer)

    def answer(self, request: dict[str, Any]) -> None:
        number, op = request.pop("id"), request.pop("op")
        try:
            value = getattr(self, op)(**request)
        except PerdureError as error:
            told = [error.kind, error.message, error.retryable, error.details]
            self._answer({"id": number, "error": told})
        else:
            self._answer({"id": number, "value": value})

    def spawn(self, entry: str, host: str, args: list[Any], **options: Any) -> str:
        return self.node.spawn(entry, host, *args, **options)

    def send(self, dest: str, topic: str, payload: list[Any], key: str | None = None) -> None:
        self.node.send(dest, topic, *payload, key=key)

    def result(self, pid: str, timeout: float) -> Any:
        return self.node.result(pid, timeout)

    def call(self, function: str, args: list[Any]) -> Any:
        return self.node.call(function, *args, timeout=20)

    def cancel(self, pid: str, reason: str) -> None:
        self.node.cancel(pid, reason)

    def terminate(self, pid: str) -> None:
        self.node.terminate(pid)

    def ask(self, pid: str, topic: str, payload: list[Any]) -> Any:
        return self.node.actor(pid).ask((topic, *payload), timeout=20)

    def arm(self, fault: str | None) -> None:
        faults.arm(fault)

    def limit_files(self, size: int | None) -> None:
        """No file can outgrow `size` bytes; None lifts it."""
        limit_files(size)

    def services(self) -> list[dict[str, Any]]:
        return [
            {"id": row.id, "state": row.state, "restarts": row.restarts, "error": str(row.error)}
            for row in self.node.services()
        ]

    @cached_property
    def _changes(self) -> Subscription:
        return self.node.events.subscribe("service")

    def service_events(self, count: int) -> list[list[Any]]:
        """The next events of services since the first call: id, states from and to, error."""
        changes = self._changes
        events = [changes.get(20) for _ in range(count)]
        return [
            [each.path, each.data["from"], each.kind, str(each.data["error"])]
            for each in events
            if each is not None
        ]

    def processes(self) -> list[dict[str, Any]]:
        return self.node.processes()

    def noted(self, run: int, seq: int) -> bool:
        """Whether the journal notes that a start request has brought its messages."""
        (journal, *_) = {host.journal for host in self.node.workflow_hosts()}
        key = keys.of_start(journal.journal_id, (journal.journal_id, run, seq))
        return bool(journal.dedupe(key.encode()))

    def workflows(self, where: str) -> list[dict[str, Any]]:
        return self.node.workflows(where)

    def runs(self) -> list[dict[str, Any]]:
        """Row of each run, the oldest first, with its number."""
        hosts = self.node.workflow_hosts()
        rows = [{"run": run, **row._asdict()} for host in hosts for run, row in host.runs()]
        return sorted(rows, key=lambda row: int(row["run"]))

    def migrate(self, pid: str) -> Any:
        """Move a workflow to the deployed code."""
        host, workflow_id = host_of(self.node, pid)
        run = host.run(workflow_id)[0]
        return self.node.clients.ask(lambda reply: host.migrate(run, reply), 20, "migration")

    def live(self) -> int:
        """How many runs are in memory."""
        return int(sum(x.value for x in self.node.metrics() if x.name == "perdure_runs_live"))

    def history(self, pid: str, run: int | None = None) -> list[list[Any]]:
        """The records of the current run of a workflow, or of any run, payloads decoded."""
        host, workflow_id = host_of(self.node, pid)
        records = host.history(run or host.run(workflow_id)[0])
        return [[_plain(item) for item in record] for _, record in records]

    def told(self, pid: str) -> list[dict[str, Any]]:
        """The history of the current run of a workflow as its host tells it, a journal or not."""
        return operations.history(self.node, pid)

    def until_recorded(self, pid: str, kind: str, count: int = 1) -> None:
        """Come back once the history has that many records of a kind."""
        while sum(each["type"] == kind for each in self.told(pid)) < count:
            time.sleep(0.005)

    def shown(self, pid: str, run: str) -> dict[str, Any]:
        """How the current or last run of a workflow stands, or that with a run id."""
        return operations.show(self.node, pid, run)

    def until_beaten(self, pid: str, least: int) -> int:
        """Wait until the heartbeat details of a pending activity, on disk or at the server, are as
        high; what they are."""
        while True:
            for details in self._beaten(pid):
                if details >= least:
                    return int(details)
            time.sleep(0.01)

    def _beaten(self, pid: str) -> list[Any]:
        """The heartbeat details of pending activities: all on disk, or those of a run."""
        hosts = self.node.workflow_hosts()
        if hosts:
            rows = (pending.row for host in hosts for pending in host.journal.activities())
            return [decode(row[2]) for row in rows if row[2]]
        # What it imports is only there with the extra: other tests do without.
        from hosts.temporal.connection import TemporalClient
        from hosts.temporal.readable import values

        client = self.node.service("app:journal")
        assert isinstance(client, TemporalClient)
        run = client.opened().get_workflow_handle(pid.partition("|")[2][:-1])
        pending = client.submit(run.describe()).result().raw_description.pending_activities
        return [told for each in pending for told in values(each.heartbeat_details)[:1] if told]

    def sources(self) -> int:
        """How many versions of code the journals keep."""
        return sum(len(host.journal.sources()) for host in self.node.workflow_hosts())

    def alone(self) -> int:
        """In how many boots a pending activity ran alone, of that with the most."""
        journals = [host.journal for host in self.node.workflow_hosts()]
        return max(
            (each.row[1] for journal in journals for each in journal.activities()), default=0
        )

    def advance(self, seconds: float) -> None:
        """Let time pass: both clocks move."""
        self._clock.elapsed += int(seconds * 1e9)
        self.jump(seconds)

    def freeze(self) -> None:
        """From here on the wall clock moves by jumps alone."""
        self._clock.frozen = time.time_ns()

    def jump(self, seconds: float) -> None:
        """Set the wall clock, as an administrator would."""
        self._clock.shift += int(seconds * 1e9)
        self.node.timers.add(0, lambda: None)  # the nearest of all: it wakes who waits for time

    def stop(self) -> list[str]:
        return self.node.stop()


def limit_files(size: int | None) -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


def _plain(item: Any) -> Any:
    if not isinstance(item, bytes):
        return item
    try:
        return decode(item)
    except Exception:
        return repr(item)


def run_node(connection: socket.socket) -> None:
    """Boot what the first line says, and do what the following ones ask for until they end."""
    lines = connection.makefile("r", encoding="utf-8")

    def say(line: dict[str, Any]) -> None:
        connection.sendall(json.dumps(line, default=str).encode() + b"\n")

    boot = json.loads(lines.readline())
    log = os.open(f"{boot['app']}/node.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    logging.basicConfig(level=logging.INFO)
    faults.arm(boot["fault"])
    limit_files(boot["limit"])
    clock = ShiftedClock(boot["wall"])
    say({"pid": os.getpid()})
    try:
        node = Node.from_path(boot["app"], boot["overrides"], clock=clock)
        node.start()
    except Exception as error:
        text = str(error) if isinstance(error, PerdureError) else traceback.format_exc()
        say({"refused": text})
        return
    session = Session(node, clock, say)
    say({"ready": True})
    for line in lines:
        request = json.loads(line)
        threading.Thread(target=session.answer, args=[request], daemon=True).start()
    node.stop()


def main() -> None:
    """Fork a node for each connection, until standard input ends."""
    bugs.plant()
    for name in sys.argv[2:]:
        importlib.import_module(name)
    server = socket.socket(socket.AF_UNIX)
    server.bind(sys.argv[1])
    server.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks for their exit codes
    os.write(1, b"listening\n")
    while True:
        readable, _, _ = select.select([server, sys.stdin], [], [])
        if sys.stdin in readable:
            return
        connection, _ = server.accept()
        if os.fork() == 0:
            server.close()
            try:
                run_node(connection)
            finally:
                os._exit(0)
        connection.close()


if __name__ == "__main__":
    main()
