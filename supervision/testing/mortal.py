"""A session in a child process, which can be killed as `kill -9` does it.

Stand-ins run in the test's process: they are the world outside, which lives on. Messages are lists
in the runtime's codec:

    test to child   [op, args]                    a method of Session, or "arm" and a fault
                    ["answer", n, ok, value]      what a stand-in gave
    child to test   ["done", value, now] | ["error", error, now]
                    ["now", now]                  the clock is about to move
                    ["effect", …]                 a function is about to run
                    ["perform", n, id, args, context]
"""

from __future__ import annotations

import contextvars
import itertools
import logging
import multiprocessing
import os
import signal
import threading
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from hosts.outcomes import failure_of
from journal import faults
from runtime.api import CallScope, ctx
from runtime.codec import decode, encode
from runtime.errors import PerdureError
from supervision.testing.effects import Effect, StandIns
from supervision.testing.session import Session
from supervision.testing.setting import Setting

_LOG: Final = "node.log"


class Killed(Exception):
    """The child was killed before it answered."""


class MortalSession:
    """The test's side. Methods of `Session` are called through `do`.

    Args:
        fault: armed once the node runs, as journal.faults writes them.
    """

    def __init__(
        self,
        setting: Setting,
        data: Path,
        now: int,
        patience: float,
        stand_ins: StandIns,
        fault: str | None,
    ) -> None:
        self.now = now
        self._stand_ins = stand_ins
        self._answers: SimpleQueue[list[Any] | None] = SimpleQueue()
        self._performing: list[threading.Thread] = []
        self._sending = threading.Lock()
        self._connection, theirs = _context().Pipe()
        given = (list(setting), str(data), now, patience)
        self._process = _context().Process(target=_live, args=(theirs, *given), daemon=True)
        self._process.start()
        theirs.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._answer()
        if fault:
            self.do("arm", fault)

    def do(self, op: str, *args: Any) -> Any:
        """Call a method. Raises what it raises, or Killed."""
        with suppress(OSError):  # it was killed; its last words may still be to be read
            self._send([op, list(args)])
        return self._answer()

    def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()
        self._end()

    def _answer(self) -> Any:
        got = self._answers.get()
        if got is None:
            self._end()
            raise Killed
        kind, value, self.now = got
        if kind == "error":
            raise value
        return value

    def _end(self) -> None:
        """It is dead, and what it asked of the world is done."""
        self._process.join()
        self._reader.join()
        for performing in self._performing:
            performing.join()
        self._connection.close()
        self._process.close()

    def _send(self, message: list[Any]) -> None:
        with self._sending:
            self._connection.send_bytes(encode(message))

    def _read(self) -> None:
        while True:
            try:
                message = decode(self._connection.recv_bytes())
            except (EOFError, OSError):
                self._answers.put(None)
                return
            if message[0] == "now":
                self.now = message[1]
            elif message[0] == "effect":
                self._stand_ins.note(Effect(*message[1:]))
            elif message[0] == "perform":
                thread = threading.Thread(target=self._perform, args=message[1:], daemon=True)
                self._performing.append(thread)
                thread.start()
            else:
                self._answers.put(message)

    def _perform(self, number: int, entry_id: str, args: list[Any], context: Any) -> None:
        def call() -> Any:
            CallScope(context or {}).enter()
            return self._stand_ins.perform(entry_id, *args)

        try:
            answer = encode(["answer", number, True, contextvars.Context().run(call)])
        except BaseException as error:
            answer = encode(["answer", number, False, failure_of(error)])
        with suppress(OSError), self._sending:  # it may have been killed meanwhile
            self._connection.send_bytes(answer)


class _Child:
    """The child's side."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Any]] = {}
        self._requests: SimpleQueue[list[Any]] = SimpleQueue()

    def serve(self, setting: list[Any], data: str, now: int, patience: float) -> None:
        threading.Thread(target=self._read, daemon=True).start()
        folder, overrides, services, stand_ins = setting
        try:
            session = Session(
                Setting(folder, tuple(overrides), services, tuple(stand_ins)), Path(data),
                now, patience, self._perform, lambda effect: self._send(["effect", *effect]),
                lambda now: self._send(["now", now]),
            )  # fmt: skip
        except PerdureError as error:
            self._send(["error", error, now])
            return
        self._send(["done", None, now])
        while True:
            op, args = self._requests.get()
            try:
                value = (faults.arm if op == "arm" else getattr(session, op))(*args)
            except PerdureError as error:
                self._send(["error", error, session.now])
            else:
                self._send(["done", value, session.now])

    def _send(self, message: list[Any]) -> None:
        with self._sending:
            self._connection.send_bytes(encode(message))

    def _read(self) -> None:
        try:
            while True:
                message = decode(self._connection.recv_bytes())
                if message[0] == "answer":
                    _, number, ok, value = message
                    future = self._waiting.pop(number)
                    future.set_result(value) if ok else future.set_exception(value)
                else:
                    self._requests.put(message)
        except (EOFError, OSError):
            os._exit(0)  # the test is gone

    def _perform(self, entry_id: str, *args: Any) -> Any:
        number, future = next(self._numbers), Future[Any]()
        self._waiting[number] = future
        self._send(["perform", number, entry_id, list(args), ctx.all()])
        return future.result()


def _live(connection: Connection, setting: list[Any], data: str, now: int, patience: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.makedirs(data, exist_ok=True)
    logging.basicConfig(filename=f"{data}/{_LOG}", level=logging.INFO)
    try:
        _Child(connection).serve(setting, data, now, patience)
    finally:
        os._exit(0)


@cache
def _context() -> ForkServerContext:
    """Children come from a server that has imported everything, and no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__, "supervision.testing.warm"])
    return context
