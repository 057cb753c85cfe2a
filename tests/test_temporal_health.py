"""What is wrong with a Temporal server, in the words of its client's state."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import pytest
from temporalio.client import Client

from hosts.temporal.health import Server
from runtime.errors import Kind, PerdureError
from tests.temporal_lab import DevServer

UNREACHED: Final = "app:client: the Temporal server at {} cannot be reached: "


class Wire:
    """A way to a server. With `breaks`, it breaks under what is sent; with `holds`, nothing comes
    back."""

    def __init__(self, address: str) -> None:
        self.breaks = self.holds = False
        self._behind = address.split(":")
        self._open: set[StreamWriter] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Gives the address of its near end."""
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        try:
            yield f"{host}:{port}"
        finally:
            server.close()
            self._break()
            while self._open:
                await asyncio.sleep(0)

    async def _carry(self, reader: StreamReader, writer: StreamWriter) -> None:
        host, port = self._behind
        far_reader, far = await asyncio.open_connection(host, int(port))
        ends = {writer, far}
        self._open |= ends
        with suppress(OSError):  # it broke
            await asyncio.gather(self._there(reader, far), self._back(far_reader, writer))
        self._break()
        for end in ends:
            with suppress(OSError):
                await end.wait_closed()
        self._open -= ends

    def _break(self) -> None:
        for end in self._open:
            end.transport.abort()

    async def _there(self, reader: StreamReader, far: StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if self.breaks:
                break
            far.write(data)
        self._break()

    async def _back(self, far: StreamReader, writer: StreamWriter) -> None:
        while data := await far.read(1 << 16):
            if not self.holds:
                writer.write(data)
        self._break()


async def asked(server: Server, client: Client, seconds: float) -> str:
    with pytest.raises(PerdureError) as refused:
        await server.ask(client, seconds)
    assert (refused.value.kind, refused.value.retryable) == (Kind.UNAVAILABLE, True)
    return refused.value.message


async def answered(server: Server, client: Client) -> None:
    """That a connection broke may show at the next request only."""
    while True:
        with suppress(PerdureError):
            return await server.ask(client, 5)


def test_a_broken_connection_is_not_a_refusal(temporal_server: DevServer) -> None:
    async def ask() -> None:
        wire = Wire(temporal_server.address)
        async with wire.open() as address:
            client = await Client.connect(address)
            server = Server("app:client", address, "default")
            await server.ask(client, 5)
            wire.breaks = True
            for _ in range(3):
                assert (await asked(server, client, 5)).startswith(UNREACHED.format(address))
            wire.breaks = False
            await answered(server, client)
            wire.holds = True
            assert (await asked(server, client, 0.5)).endswith(" does not answer within 0.5s")

    asyncio.run(ask())


def test_nobody_listens_and_a_namespace_is_missing(temporal_server: DevServer) -> None:
    async def ask() -> None:
        wire = Wire(temporal_server.address)
        async with wire.open() as address:
            client = await Client.connect(address)
            server = Server("app:client", address, "nowhere")
            told = await asked(server, client, 5)
            assert told.endswith(f'{address} has no namespace "nowhere"')
        assert (await asked(server, client, 5)).startswith(UNREACHED.format(address))

    asyncio.run(ask())
