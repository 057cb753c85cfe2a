"""Whether a Temporal server answers, asked again and again while its client runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from hosts.temporal.failures import is_late, is_unreached
from runtime.errors import Kind, PerdureError

logger = logging.getLogger(__name__)


class Server:
    """The server of a client, as errors call it.

    Attributes:
        trouble: why it cannot be used now; None while it answers.
        on_trouble: called when that has come or gone.
    """

    def __init__(self, client_id: str, address: str, namespace: str) -> None:
        self._name = f"{client_id}: the Temporal server at {address}"
        self._namespace = namespace
        self.trouble: PerdureError | None = None
        self.on_trouble: Callable[[], None] = lambda: None

    def failed(self, what: str) -> PerdureError:
        """The error that it does something, such as "does not answer"."""
        return PerdureError(Kind.UNAVAILABLE, f"{self._name} {what}", True)

    async def ask(self, client: Client, seconds: float) -> None:
        """Ask it for the namespace. Raises PerdureError UNAVAILABLE that says what is wrong."""
        request = DescribeNamespaceRequest(namespace=self._namespace)
        try:
            await client.workflow_service.describe_namespace(
                request, timeout=timedelta(seconds=seconds)
            )
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                raise self.failed(f'has no namespace "{self._namespace}"') from None
            if is_late(error):
                raise self.failed(f"does not answer within {seconds:g}s") from None
            if error.status == RPCStatusCode.RESOURCE_EXHAUSTED:
                return
            if is_unreached(error):
                raise self.failed(f"cannot be reached: {error.message}") from None
            raise self.failed(f"refuses: {error.message}") from None

    async def watch(
        self, client: Client, interval: float, tell: Callable[[str], None] = logger.warning
    ) -> None:
        """Ask it every `interval` seconds, and see to `trouble`. Ends by being cancelled."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.ask(client, interval)
            except PerdureError as error:
                text = f"{error.message}; it is asked again every {interval:g}s"
                came, self.trouble = self.trouble is None, PerdureError(error.kind, text, True)
                if came:
                    tell(f"{error.message}; requests wait until it does")
                    self.on_trouble()
            else:
                went, self.trouble = self.trouble is not None, None
                if went:
                    tell(f"{self._name} answers again")
                    self.on_trouble()
