"""The terminal of a node, for the Lua module `io` of terminal processes.

What a program writes is written before it goes on, on the thread of its VM: a reader that is slow
holds it up. It reads on a thread of its own, which waits as long as it takes.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, NamedTuple

from runtime.codec import decode_args, encode
from runtime.errors import Kind, PerdureError
from runtime.inputs import ReplyTo
from runtime.routing.router import NIL, Router

#: Bytes of a line, at most, and of what is read at once.
LINE: Final = 16 << 20
_CHUNK: Final = 1 << 16


class Streams(NamedTuple):
    """What a terminal is made of. They may raise OSError."""

    #: Write bytes, at once.
    out: Callable[[bytes], None]
    err: Callable[[bytes], None]
    #: Wait for some bytes, and read as many at most; none at the end.
    read: Callable[[int], bytes]


def _out(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _err(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.buffer.flush()


#: Those of this process. Not sys.stdin: a thread that waits in it holds a lock that the
#: interpreter needs at its end.
STANDARD: Final = Streams(_out, _err, lambda size: os.read(0, size))


class Terminal:
    """What the Lua module `io` asks for. Safe to use from any thread."""

    def __init__(self, router: Router, streams: Streams) -> None:
        self._router = router
        self._streams = streams
        self._requests: SimpleQueue[tuple[int | None, ReplyTo | None]] = SimpleQueue()
        self._reader: threading.Thread | None = None
        self._lock = threading.Lock()
        self._buffer = bytearray()

    def ask(self, verb: str, pid: str, args: bytes, reply: ReplyTo | None) -> None:
        (value,) = decode_args(args)
        if verb == "read":
            self._start_reading()
            self._requests.put((value, reply))
            return
        data = value if isinstance(value, bytes) else value.encode()
        try:
            (self._streams.out if verb == "out" else self._streams.err)(data)
        except OSError as error:
            text = f"io: the terminal cannot be written to: {error.strerror}"
            raise PerdureError(Kind.UNAVAILABLE, text) from error
        self._router.answer(reply)

    def lost(self, prefix: str) -> None:
        """Nothing is kept for a slot."""

    def _start_reading(self) -> None:
        with self._lock:
            if self._reader is None:
                self._reader = threading.Thread(
                    target=self._read_on, name="terminal-reader", daemon=True
                )
                self._reader.start()

    def _read_on(self) -> None:
        while True:
            size, reply = self._requests.get()
            try:
                data = self._line() if size is None else self._some(size)
                self._router.answer(reply, NIL if data is None else encode(data))
            except PerdureError as error:
                self._router.refuse(reply, error)
            except OSError as error:
                text = f"io: the terminal cannot be read: {error.strerror}"
                self._router.refuse(reply, PerdureError(Kind.UNAVAILABLE, text))

    def _some(self, size: int) -> bytes | None:
        if not self._buffer:
            self._buffer += self._streams.read(size)
        return self._take(size) or None

    def _line(self) -> bytes | None:
        """The next line without its end; None when there is none."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > LINE:
                raise PerdureError(
                    Kind.INVALID, f"io.readline: no end of line in {LINE >> 20} MiB: use io.read"
                )
            more = self._streams.read(_CHUNK)
            if not more:
                return self._take(searched) or None
            self._buffer += more
        return self._take(end + 1)[:-1]

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken
