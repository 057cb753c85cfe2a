"""The client's side of the control socket."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from runtime.errors import Kind, PerdureError
from supervision.control.address import socket_address
from supervision.control.plain import error_of


class NoNodeError(Exception):
    """No node answers at the socket `path`.

    Attributes:
        gone: a node was there and did not take its socket along.
    """

    def __init__(self, path: Path, *, gone: bool) -> None:
        super().__init__(f"no node answers at {path}")
        self.path = path
        self.gone = gone


class ControlClient:
    """A connection to the node that owns a data folder; a context manager.

    Raises NoNodeError when no node answers there, PerdureError PERMISSION_DENIED when its socket
    belongs to another user.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with socket_address(path) as address:
                self._socket.connect(address)
        except (FileNotFoundError, NotADirectoryError):
            self._socket.close()
            raise NoNodeError(path, gone=False) from None
        except ConnectionRefusedError:
            self._socket.close()
            raise NoNodeError(path, gone=True) from None
        except OSError as error:
            self._socket.close()
            text = f"control socket {path}: {error.strerror}: it serves the user who runs the node"
            raise PerdureError(Kind.PERMISSION_DENIED, text) from None
        self._lines = self._socket.makefile("rb")

    def call(self, op: str, **params: Any) -> Any:
        """The result of an operation. Raises PerdureError: what the node answered, or
        UNAVAILABLE when it stopped before it answered."""
        request = json.dumps({"op": op, "params": params}).encode() + b"\n"
        try:
            self._socket.sendall(request)
            line = self._lines.readline()
        except ConnectionError:
            line = b""
        if not line:
            text = f"the node at {self._path} stopped before it answered"
            raise PerdureError(Kind.UNAVAILABLE, text)
        response = json.loads(line)
        if not response["ok"]:
            raise error_of(response["error"])
        return response["result"]

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
