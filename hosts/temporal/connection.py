"""`temporal.client`: the connection to a Temporal server, which workers share."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, TypeVar

from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
    ListSearchAttributesResponse,
)
from temporalio.client import Client
from temporalio.service import GrpcCompression, RetryConfig, RPCError, RPCStatusCode, TLSConfig

from hosts.temporal.attributes import OWN, Fitted, fitted, name_of, number_of, type_of
from hosts.temporal.core import core
from hosts.temporal.headers import HeaderInterceptor
from hosts.temporal.health import Server
from hosts.temporal.payloads import CONVERTER
from hosts.temporal.requests import NodeRequests
from runtime.errors import Kind, PerdureError

T = TypeVar("T")

#: How the SDK writes what a server has answered.
_STATUS: Final = re.compile(r'Status { code: (?P<code>\w+), message: "(?P<message>[^"]+)"')

#: A request to a server that is away is made again for five minutes, every second at the end.
RETRIES: Final = RetryConfig(
    max_interval_millis=1_000,
    max_elapsed_time_millis=300_000,
    max_retries=1_000_000,
)


class TemporalClient:
    """A `temporal.client` service: starts when the server answers to its namespace.

    A server that goes away later is waited for: requests are made again, and the workers go on
    when it is back. Until then the service is in trouble.

    Args:
        data: the fields of its entry.
        requests: what the runs of its workers ask of the node.
    """

    def __init__(self, service_id: str, data: Mapping[str, Any], requests: NodeRequests) -> None:
        self.id = service_id
        self.requests = requests
        self.address: str = data["address"]
        self.namespace: str = data["namespace"]
        self.prefix: str = data["tq_prefix"]
        self._server = Server(service_id, self.address, self.namespace)
        self._data = data
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None
        #: Search attribute -> its type in the namespace.
        self._attributes: dict[str, str] = {}
        self._adding = asyncio.Lock()
        #: Of activities that are suspected to take the node down, the one that may.
        self.suspects = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None

    def attach(self, on_exit: Callable[[PerdureError | None], None]) -> None:
        """It never ends by itself."""

    def attach_trouble(self, on_trouble: Callable[[], None]) -> None:
        self._server.on_trouble = on_trouble

    def start(self) -> None:
        """Connect. Raises PerdureError that says what is wrong."""
        self.stop()
        loop = asyncio.new_event_loop()
        threading.Thread(target=_run, args=(loop,), name=f"perdure-{self.id}", daemon=True).start()
        self._loop = loop
        try:
            self._client = self.submit(self._begin()).result()
        except PerdureError:
            self.stop()
            raise

    @property
    def trouble(self) -> PerdureError | None:
        """Why the server cannot be used now, if so."""
        return self._server.trouble

    def stop(self) -> None:
        self._server.trouble = None
        loop, self._loop, self._client = self._loop, None, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def opened(self) -> Client:
        """The client. Raises PerdureError UNAVAILABLE when the service does not run."""
        if self._client is None:
            raise PerdureError(Kind.UNAVAILABLE, f"{self.id} is not running", True)
        return self._client

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop of the client; from any thread but that loop's."""
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it is closed by now
                return asyncio.run_coroutine_threadsafe(coroutine, loop)
        coroutine.close()
        raise PerdureError(Kind.UNAVAILABLE, f"{self.id} is not running", True)

    async def _begin(self) -> Client:
        client, health = await self.connect(), self._data["health_check"]
        if health["enabled"]:
            watch = self._server.watch(client, health["interval"] / 1e9)
            self._watching = asyncio.get_running_loop().create_task(watch)
        return client

    async def connect(self) -> Client:
        """A connection of its own, to a server that answers. Raises PerdureError that says what is
        wrong. Runs on the loop."""
        seconds = self._data["connection_timeout"] / 1e9
        try:
            async with asyncio.timeout(seconds):
                client = await Client.connect(
                    self.address,
                    namespace=self.namespace,
                    api_key=self._api_key(),
                    tls=self._tls(),
                    data_converter=CONVERTER,
                    interceptors=[HeaderInterceptor()],
                    retry_config=RETRIES,
                    grpc_compression=compression_of(self._data["compression"], self.address),
                    connect_timeout=timedelta(seconds=seconds),
                    runtime=core(),
                )
                await self._server.ask(client, seconds)
        except TimeoutError:
            raise self._server.failed(f"does not answer within {seconds:g}s") from None
        except (RuntimeError, ValueError, OSError) as error:
            status = _STATUS.search(str(error))
            refuses = status is not None and status["code"] != "Unavailable"
            what = "refuses" if refuses else "cannot be reached"
            raise self._server.failed(f"{what}: {said(error)}") from None
        return client

    def _api_key(self) -> str | None:
        auth = self._data["auth"]
        if auth["type"] != "api_key":
            return None
        if variable := auth["api_key_env"]:
            if key := os.environ.get(variable):
                return key
            text = f"{self.id}: the variable {variable}, which auth.api_key_env names, is not set"
            raise PerdureError(Kind.INVALID, text)
        if auth["api_key_file"]:
            return self._read(auth["api_key_file"]).decode().strip()
        return str(auth["api_key"])

    def _tls(self) -> bool | TLSConfig:
        auth, tls = self._data["auth"], self._data["tls"]
        mutual = auth["type"] == "mtls"
        if not (tls["enabled"] or mutual or auth["type"] == "api_key"):
            return False
        return TLSConfig(
            server_root_ca_cert=self._read(tls["ca_file"]) if tls["ca_file"] else None,
            domain=tls["server_name"] or None,
            client_cert=self._pem(auth, "cert") if mutual else None,
            client_private_key=self._pem(auth, "key") if mutual else None,
        )

    def _pem(self, auth: Mapping[str, Any], name: str) -> bytes:
        if auth[f"{name}_file"]:
            return self._read(auth[f"{name}_file"])
        return str(auth[f"{name}_pem"]).encode()

    def _read(self, path: str) -> bytes:
        try:
            return Path(path).read_bytes()
        except OSError as error:
            text = f"{self.id}: {path} cannot be read: {error.strerror}"
            raise PerdureError(Kind.INVALID, text) from None

    async def attribute_types(self) -> dict[str, str]:
        """The search attributes of the namespace that are not the server's own, and their types, as
        Temporal names them: Keyword, Int …"""
        listed = await self._listed_attributes()
        return {name: name_of(kind) for name, kind in listed.custom_attributes.items()}

    async def _listed_attributes(self) -> ListSearchAttributesResponse:
        return await self.opened().operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=self.namespace), retry=True
        )

    async def fitted(self, search: Mapping[str, Any]) -> tuple[Fitted, dict[str, PerdureError]]:
        """Search attributes as the namespace takes them, where they are made if it lacks them; and
        by name why it does not take the others."""
        fit, refused = {}, {}
        for name, value in search.items():
            try:
                if name not in self._attributes:
                    async with self._adding:
                        await self._add_attribute(name, type_of(value))
                fit[name] = fitted(name, value, self._attributes[name])
            except PerdureError as error:
                refused[name] = error
        return fit, refused

    async def _add_attribute(self, name: str, kind: str) -> None:
        """Raises PerdureError INVALID where the namespace cannot have it."""
        if name not in self._attributes:
            listed = await self._listed_attributes()
            custom = {name: name_of(kind) for name, kind in listed.custom_attributes.items()}
            self._attributes = {**dict.fromkeys(listed.system_attributes, OWN), **custom}
        if name in self._attributes:
            return
        request = AddSearchAttributesRequest(
            namespace=self.namespace, search_attributes={name: number_of(kind)}
        )
        try:
            await self.opened().operator_service.add_search_attributes(request)
        except RPCError as error:
            if error.status != RPCStatusCode.INVALID_ARGUMENT:
                raise
            text = f"search attribute {name}: the Temporal server: {error.message}"
            raise PerdureError(Kind.INVALID, text, False) from None
        self._attributes[name] = kind


def compression_of(compression: str, address: str) -> GrpcCompression:
    """What the field of that name says for the server at an address, host:port."""
    if compression == "auto":
        compression = "none" if _is_here(address) else "gzip"
    return GrpcCompression.NONE if compression == "none" else GrpcCompression.GZIP


def _is_here(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def said(error: BaseException) -> str:
    """What an error of the SDK says: the server's own words, where it has answered, else without
    what the machine adds in other lines."""
    status = _STATUS.search(str(error))
    return str(error).partition("\n")[0] if status is None else status["message"]


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.run_until_complete(asyncio.sleep(0))  # what was submitted is a task then
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
