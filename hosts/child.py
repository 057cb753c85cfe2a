"""What runs in a child process of a function pool: one function, a call at a time.

Messages between node and child are a letter and a value in the runtime's codec:

    node to child    c [args, context]     a call
    child to node    h details             a heartbeat
                     v value | e error     the end of the call
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import signal
import threading
from collections.abc import Awaitable
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from hosts.outcomes import Result, encode_result, failure_of, result_of
from hosts.targets import resolve
from runtime.api import CallScope
from runtime.codec import decode, encode


class Child:
    """Serves a function until the node is gone."""

    def __init__(self, descriptor: int, entry_id: str, target: str, folder: str) -> None:
        self._connection = Connection(descriptor)
        self._entry_id = entry_id
        self._target = target
        self._folder = Path(folder)
        self._requests: SimpleQueue[bytes] = SimpleQueue()
        self._sending = threading.Lock()

    def serve(self) -> None:
        """Run calls for ever."""
        # Ctrl-C reaches children too; what becomes of them is for the node to say.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            args, context = decode(self._requests.get()[1:])
            # An empty context for each call: what one sets is not seen by the next.
            result = contextvars.Context().run(self._call, args, context or {})
            ok, value = encode_result(self._entry_id, result)
            self._send(b"v" if ok else b"e", value)

    def _read(self) -> None:
        """Also while a call runs: the end of a node that was killed is noticed at once."""
        try:
            while True:
                self._requests.put(self._connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)

    def _send(self, letter: bytes, value: bytes) -> None:
        with self._sending:
            self._connection.send_bytes(letter + value)

    def _call(self, args: list[Any], context: dict[str, Any]) -> Result:
        try:
            function = resolve(self._entry_id, self._target, self._folder)
            CallScope(context, lambda details: self._send(b"h", encode(details))).enter()
            value = function(*args)
            if inspect.isawaitable(value):
                value = asyncio.run(_result_of(value))
            return result_of(value)
        except BaseException as error:
            return Result(error=failure_of(error))


async def _result_of(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
