"""A node in the foreground of a terminal: boot, wait for an end or a signal, stop in order.

The main thread only waits, on one inbox. The node boots on a thread of its own, so that a signal
ends a slow boot too.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from hosts.modules.terminal import STANDARD, Streams
from runtime.codec import decode, encode_args
from runtime.errors import Kind, PerdureError
from runtime.inputs import StartOptions
from runtime.routing.router import SpawnRequest
from supervision.cli.errors import report
from supervision.messages import ServiceStatus
from supervision.node import Node
from supervision.state import State
from supervision.terminal import exit_code

logger = logging.getLogger("perdure.node")


@dataclass(frozen=True, slots=True)
class _Signalled:
    name: str


@dataclass(frozen=True, slots=True)
class _Ended:
    """The program ended: `result` has its value or its error."""

    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Failed:
    """The boot failed, or nobody reads what the program writes (without an error)."""

    error: PerdureError | None


class Foreground:
    """Takes SIGINT and SIGTERM from the moment it is made.

    Attributes:
        hung: services did not stop in time; their threads may still be at work.
    """

    def __init__(self) -> None:
        self.hung = False
        self._inbox: SimpleQueue[_Signalled | _Ended | _Failed] = SimpleQueue()
        self._unread = False
        self._pid = ""
        # Python runs a handler on the main thread, and does not wake it for a signal that another
        # thread got. The wakeup fd is written to whoever gets it, and a thread listens there.
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        listener = threading.Thread(
            target=self._listen, args=(reader,), name="perdure-signals", daemon=True
        )
        listener.start()

    def run(self, node: Node) -> int:
        """Run a node until a signal; its exit code."""
        self._begin(node, lambda: None)
        end = self._inbox.get()
        code = self._failure(end)
        self._stop(node, end)
        return 1 if self.hung else code

    def run_program(self, node: Node, entry: str, host: str, args: list[str]) -> int:
        """Run a process entry on a terminal host, then stop the node; the program's exit code.

        A signal cancels the program; its result still counts when it ends in time.
        """
        logging.getLogger().handlers[0].addFilter(self._is_news)
        self._begin(node, lambda: self._spawn(node, entry, host, args))
        end = self._inbox.get()
        if self._unread and self._pid:
            with suppress(PerdureError):  # it may have ended meanwhile
                node.terminate(self._pid)
        self._stop(node, end)
        while not isinstance(end, _Ended):
            if isinstance(end, _Failed) or self._inbox.empty():
                return self._failure(end) or 1
            end = self._inbox.get()
        error = end.result.get("error")
        if error is not None:
            report(error)
            return 1
        return exit_code(end.result.get("value"))

    @property
    def streams(self) -> Streams:
        """What the program writes to and reads from."""
        return STANDARD._replace(out=self._write)

    def _write(self, data: bytes) -> None:
        if self._unread:
            return
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            self._unread = True
            # Python flushes stdout once more at its end, and would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._inbox.put(_Failed(None))

    def _listen(self, reader: int) -> None:
        signalled = False
        while True:
            number = signal.Signals(os.read(reader, 1)[0])
            if number not in (signal.SIGINT, signal.SIGTERM):
                continue
            if signalled:
                os.write(2, f"stopped at once by a second signal ({number.name})\n".encode())
                os._exit(1)
            signalled = True
            self._inbox.put(_Signalled(number.name))

    def _begin(self, node: Node, then: Any) -> None:
        def boot() -> None:
            try:
                _start(node)
                then()
            except PerdureError as error:
                self._inbox.put(_Failed(error))
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
                trace = traceback.format_exc()
                self._inbox.put(_Failed(PerdureError(Kind.INTERNAL, text, trace=trace)))

        threading.Thread(target=boot, name="perdure-boot", daemon=True).start()

    def _spawn(self, node: Node, entry: str, host: str, args: list[str]) -> None:
        status = node.supervisor.start_child(host)
        if status.state is not State.RUNNING:
            text = f"the terminal host {host} is {status.state}: {status.error or ''}"
            raise status.error or PerdureError(Kind.UNAVAILABLE, text)

        def on_event(event: dict[str, Any]) -> None:
            if event["kind"] == "pid.exit":
                node.clients.unwatch(watcher)
                result = event["result"]  # of a program that returned nothing it is empty, a list
                self._inbox.put(_Ended(result if isinstance(result, dict) else {}))

        def spawned(ok: bool, value: bytes) -> None:
            if ok:
                self._pid = decode(value)
            else:
                self._inbox.put(_Failed(decode(value)))

        watcher = node.clients.watch(on_event)
        start: StartOptions = {
            "terminal": args,
            "reply": node.clients.expect(spawned),
            "watchers": [watcher],
        }
        node.router.spawn(SpawnRequest(entry, host, encode_args([]), start))

    def _is_news(self, record: logging.LogRecord) -> bool:
        """False for the host's line on the program's own end, which is reported in full."""
        its_own = isinstance(record.args, tuple) and record.args[:1] == (self._pid,)
        return not (its_own and str(record.msg).startswith("%s (%s) ended with an error"))

    def _failure(self, end: _Signalled | _Ended | _Failed) -> int:
        if not isinstance(end, _Failed):
            return 0
        if end.error is not None:
            report(end.error)
        return 1

    def _stop(self, node: Node, end: _Signalled | _Ended | _Failed) -> None:
        why = f" ({end.name})" if isinstance(end, _Signalled) else ""
        logger.info("stopping%s; a second signal stops at once", why)
        began = time.monotonic()
        left = node.stop(_report_stop)
        self.hung = bool(left)
        if left:
            logger.error("did not stop in time: %s", ", ".join(left))
        else:
            logger.info("stopped in %.2f s", time.monotonic() - began)


def _start(node: Node) -> None:
    for warning in node.warnings:
        logger.warning("%s", warning)
    began = time.monotonic()
    node.start(_report_start)
    services = node.services()
    running = [each for each in services if each.state is State.RUNNING]
    logger.info(
        "up: %d of %d services running after %.2f s; control socket %s",
        len(running), len(services), time.monotonic() - began, node.data.socket,
    )  # fmt: skip


def _report_start(status: ServiceStatus) -> None:
    # What fails is logged by its supervisor, with the reason.
    if status.state in (State.STARTING, State.RUNNING):
        logger.info("%s (%s) is %s", status.id, status.kind, status.state)


def _report_stop(status: ServiceStatus) -> None:
    if status.state in (State.STOPPING, State.STOPPED):
        logger.info("%s (%s) is %s", status.id, status.kind, status.state)
