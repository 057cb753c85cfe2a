"""The server's side of the control socket: a line of JSON in, a line of JSON out.

    {"op": "send", "params": {"to": "{app:orders|7}", "topic": "approve"}}
    {"ok": true, "result": null}
    {"ok": false, "error": {"kind": "NotFound", "message": "…", …}}

A client may send any number of requests; they are answered in order. Clients do not wait for each
other.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from hosts.daemon_pool import DaemonPool
from runtime.errors import Kind, PerdureError
from supervision.control.address import socket_address
from supervision.control.operations import Operations
from supervision.control.plain import error_fields, plain
from supervision.control.waiting import Waiting

logger = logging.getLogger("perdure.control")

#: Bytes of a request: a payload of Temporal's 2 MB in JSON, with room.
MAX_REQUEST: Final = 16 << 20
#: Operations at work at a time; those that wait for an end take no thread.
_WORKERS: Final = 16


class ControlServer:
    """Serves `operations` on the socket `path` between `start` and `stop`."""

    def __init__(self, path: Path, operations: Operations) -> None:
        self._path = path
        self._operations = operations
        self._pool = DaemonPool(_WORKERS)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def start(self) -> None:
        """Make the socket, with access for its owner only. A socket that is there is replaced.

        Raises OSError when it cannot be made. Call it as the owner of the data folder.
        """
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name="perdure-control", daemon=True
        )
        self._thread.start()
        ready.result()

    def stop(self) -> None:
        """Close the connections, and remove the socket. Does nothing where nothing runs."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join()
        self._pool.close()

    async def _serve(self, ready: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        clients: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._client(reader, writer))
            clients.add(task)
            task.add_done_callback(clients.discard)

        try:
            with socket_address(self._path) as address:
                server = await asyncio.start_unix_server(
                    connected, sock=_listening(address), limit=MAX_REQUEST
                )
                try:
                    ready.set_result(None)
                    await self._stopping.wait()
                finally:
                    server.close()
                    with suppress(FileNotFoundError):
                        os.unlink(address)
        except OSError as error:
            if ready.done():
                logger.exception("the control socket %s failed", self._path)
            else:
                ready.set_exception(error)
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        coming = asyncio.create_task(reader.readline())
        try:
            while line := await coming:
                coming = asyncio.create_task(reader.readline())
                writer.write(_line(await self._answer(line, coming)))
                await writer.drain()
        except ConnectionError:
            pass
        except ValueError:
            text = f"a request is longer than {MAX_REQUEST >> 20} MiB"
            writer.write(_line(_refusal(PerdureError(Kind.INVALID, text))))
        finally:
            coming.cancel()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, line: bytes, coming: asyncio.Task[bytes]) -> dict[str, Any]:
        """The response to one request; a client that hangs up ends its waiting, not its work."""
        try:
            name, params = _request(line)
            result = await self._in_thread(lambda: self._operations.run(name, params))
            if isinstance(result, Waiting):
                result = await _first_of(result, coming)
            return {"ok": True, "result": plain(result)}
        except PerdureError as error:
            return _refusal(error)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        done: Future[Any] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        self._pool.submit(run)
        return await asyncio.wrap_future(done)


async def _first_of(waiting: Waiting, coming: asyncio.Task[bytes]) -> Any:
    """What is waited for, unless the client hangs up first."""
    ended: asyncio.Future[Any] = asyncio.wrap_future(waiting.outcome)
    either: set[asyncio.Future[Any]] = {ended, coming}
    try:
        async with asyncio.timeout(waiting.timeout):
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done() and _hung_up(coming):
                raise ConnectionResetError
            return waiting.value(*await ended)
    except TimeoutError:
        text = f"{waiting.what}: no answer within {waiting.timeout:g}s"
        raise PerdureError(Kind.TIMEOUT, text) from None
    finally:
        ended.cancel()
        waiting.forget()


def _hung_up(coming: asyncio.Task[bytes]) -> bool:
    return coming.done() and (coming.exception() is not None or not coming.result())


def _listening(address: str) -> socket.socket:
    """A socket that only its owner can connect to, from the first moment."""
    with suppress(FileNotFoundError):
        os.unlink(address)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(address)
        # Nobody can connect before listen(2), so there is no moment with wider rights.
        os.chmod(address, 0o600)
        sock.listen()
    except BaseException:
        sock.close()
        raise
    return sock


def _request(line: bytes) -> tuple[str, dict[str, Any]]:
    """Operation and parameters of a request. Raises PerdureError INVALID."""
    form = 'a request is a line such as {"op": "services", "params": {}}'
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise PerdureError(Kind.INVALID, f"not JSON ({error}): {form}") from None
    if not isinstance(request, dict) or not isinstance(request.get("op"), str):
        raise PerdureError(Kind.INVALID, f'a request needs "op", a text: {form}')
    params = request.get("params", {})
    if not isinstance(params, dict):
        raise PerdureError(Kind.INVALID, f'"params" of a request is a map: {form}')
    return request["op"], params


def _refusal(error: PerdureError) -> dict[str, Any]:
    return {"ok": False, "error": error_fields(error)}


def _line(response: dict[str, Any]) -> bytes:
    return json.dumps(response).encode() + b"\n"
