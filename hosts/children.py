"""Function pools of type process: calls run in child processes, which can be killed.

A child is a fresh interpreter, not a fork: forks of a process with threads deadlock now and then.
It is told nothing but the import path, and imports the function itself. One call at a time runs in
it. A call that is given up takes its child along; the next call gets a new one. A child whose node
is gone ends by itself, for it reads its connection all the time.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from hosts.daemon_pool import DaemonPool
from hosts.function_call import FunctionCall
from hosts.outcomes import Result
from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError

logger = logging.getLogger(__name__)

#: Children of a pool that does not say how many.
WORKERS: Final = os.cpu_count() or 1

_PROGRAM: Final = (
    "import json, sys; path, *rest = json.loads(sys.argv[1]); sys.path[:] = path; "
    "from hosts.child import Child; Child(*rest).serve()"
)


class ChildProcess:
    """A child, from the node's side."""

    def __init__(self, entry_id: str, target: str, folder: Path) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            setting = [sys.path, theirs.fileno(), entry_id, target, str(folder)]
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM, json.dumps(setting)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
            except BaseException:
                ours.close()
                raise
        self._connection = Connection(ours.detach())

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def call(self, args: Sequence[Any], context: Any, call: FunctionCall) -> Result:
        """Run a call to its end. Raises EOFError or OSError when the child dies."""
        self._connection.send_bytes(b"c" + encode([list(args), dict(context)]))
        while (message := self._connection.recv_bytes())[:1] == b"h":
            if call.scope.on_heartbeat is not None:
                call.scope.on_heartbeat(decode(message[1:]))
        value = decode(message[1:])
        return Result(value) if message[:1] == b"v" else Result(error=value)

    def kill(self) -> None:
        """End it at once; from any thread."""
        self._process.kill()

    def reap(self) -> str:
        """Take it off the system's list; how it ended."""
        self._process.kill()
        code = self._process.wait()
        self._connection.close()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"


class ChildPool:
    """At most `workers` children, begun as they are needed; calls run in FIFO order.

    Args:
        entry_id: the function.
        target: what the children import.
        folder: the application's folder.
    """

    def __init__(self, entry_id: str, target: str, folder: Path, workers: int) -> None:
        self._entry_id = entry_id
        self._target = target
        self._folder = folder
        self._threads = DaemonPool(workers)
        self._idle: list[ChildProcess] = []
        self._ending = False

    def submit(self, call: FunctionCall, args: Sequence[Any]) -> None:
        """Run a call; arguments that cannot be passed on raise PerdureError INVALID."""
        self._threads.submit(partial(self._run, call, args))

    def retire(self) -> None:
        """Let the children end with what they are at; what comes nevertheless is run."""
        self._threads.retire()
        self._end_idle()

    def close(self) -> None:
        """Drop what has not begun. The calls that run were given up, which kills their children."""
        self._threads.close()
        self._end_idle()

    def _end_idle(self) -> None:
        self._ending = True
        while self._idle:
            self._idle.pop().reap()

    def _run(self, call: FunctionCall, args: Sequence[Any]) -> None:
        if not call.begin():
            return
        try:
            child = self._child()
        except OSError as error:
            text = f"{self._entry_id}: no worker process: {error}"
            call.finish(Result(error=PerdureError(Kind.UNAVAILABLE, text, True)))
            return
        call.runs_as(child.kill)
        try:
            result = child.call(args, call.scope.context, call)
        except (EOFError, OSError):
            text = f"{self._entry_id}: its worker process {child.reap()} while it ran this call"
            died = PerdureError(Kind.INTERNAL, text)
            call.finish(Result(error=call.scope.given_up or died))
            return
        except PerdureError as error:
            result = Result(error=error)
        call.finish(result)
        if call.scope.given_up is None and not self._ending:
            self._idle.append(child)
            if self._ending:
                self._end_idle()
        else:
            # Whoever gave the call up may be about to kill it.
            child.reap()

    def _child(self) -> ChildProcess:
        while self._idle:
            child = self._idle.pop()
            if child.is_alive:
                return child
            logger.warning("%s: an idle worker process %s", self._entry_id, child.reap())
        return ChildProcess(self._entry_id, self._target, self._folder)
