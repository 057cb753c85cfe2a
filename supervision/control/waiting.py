"""An operation that is answered when something ends, and takes no thread until then."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from runtime.codec import decode

if TYPE_CHECKING:
    from supervision.node import Node


class Waiting:
    """The result of a process or workflow, to come.

    Args:
        timeout: seconds; None to wait for ever.

    Attributes:
        outcome: ok, and the encoded result or error.
        what: for the TIMEOUT error.

    Raises PerdureError NOT_FOUND for a name that nobody holds.
    """

    def __init__(self, node: Node, pid: str, timeout: float | None) -> None:
        self.outcome: Future[tuple[bool, bytes]] = Future()
        self.timeout = timeout
        self.what = f"result of {pid}"
        self._clients = node.clients
        target = node.router.resolve(pid)
        self._reply = node.clients.expect(self._ended)
        node.router.outcome(target, self._reply)

    def _ended(self, ok: bool, value: bytes) -> None:
        if self.outcome.set_running_or_notify_cancel():
            self.outcome.set_result((ok, value))

    def value(self, ok: bool, encoded: bytes) -> Any:
        """The result; raises the error that it is when not ok."""
        value = decode(encoded)
        if not ok:
            raise value
        return value

    def forget(self) -> None:
        """Nobody waits any more."""
        self._clients.forget(self._reply)
