"""Putting a deployment in the place of another while the node runs; whole, or not at all."""

from __future__ import annotations

import logging

from hosts.functions import PythonFunctions
from hosts.modules.env import Variables
from hosts.process.pools import FunctionPools
from runtime.config.registry import Registry
from runtime.config.service_fields import SERVICES
from runtime.errors import PerdureError
from supervision.build import Parts, built_services
from supervision.messages import ServiceStatus
from supervision.registry import Deployment
from supervision.state import State
from supervision.supervisor import Supervisor

logger = logging.getLogger(__name__)


class Deployer:
    """Deploys on one node. One thread at a time may call it."""

    def __init__(
        self,
        parts: Parts,
        python: PythonFunctions,
        pools: FunctionPools,
        variables: Variables,
        supervisor: Supervisor,
    ) -> None:
        self._parts = parts
        self._python = python
        self._pools = pools
        self._variables = variables
        self._supervisor = supervisor

    def deploy(self, old: Deployment, new: Deployment, touched: frozenset[str]) -> None:
        """Run `new` in place of `old`.

        Code comes first, so that services which are started have the new one. Raises PerdureError
        naming a service that does not start, and then everything is as before; services that were
        replaced are started again.
        """
        self._switch(old, new)
        try:
            changed = self._change_services(old.registry, new.registry, touched)
        except PerdureError:
            self._switch(new, old)
            raise
        failed = next((each for each in changed if _has_failed(each)), None)
        if failed is not None and failed.error is not None:
            self._switch(new, old)
            self._go_back(new.registry, old.registry, touched)
            text = f"{failed.id} does not start, so nothing was changed: {failed.error.message}"
            raise PerdureError(failed.error.kind, text, details={"service": failed.id})
        self._parts.stores.forget(new.registry)
        self._variables.forget(new.registry)

    def _switch(self, old: Deployment, new: Deployment) -> None:
        """Let what starts from now on be that of a deployment, services apart."""
        # What the old registry names is there until nobody can read it any more.
        self._python.install({**old.functions, **new.functions})
        self._parts.stores.fit(new.registry)
        self._variables.fit(new.registry)
        self._pools.fit(new.registry)
        self._parts.deployed.switch(new.registry)
        self._python.install(new.functions)

    def _change_services(
        self, old: Registry, new: Registry, touched: frozenset[str]
    ) -> list[ServiceStatus]:
        """Bring the running services in line; see `Supervisor.change`."""
        put = [each for each in new.of_kind(*SERVICES) if each.id in touched]
        kept = {each.id for each in new.of_kind(*SERVICES)}
        gone = {each.id for each in old.of_kind(*SERVICES)} - kept
        if not (put or gone):
            return []
        parts = self._parts
        before = parts.services
        try:
            services = built_services(parts, put)
            parts.router.declare(parts.services)
            changed = self._supervisor.change(services, gone)
        except PerdureError:
            parts.services = before
            parts.router.declare(before)
            raise
        parts.services = {key: each for key, each in parts.services.items() if key not in gone}
        parts.router.declare(parts.services)
        return changed

    def _go_back(self, new: Registry, old: Registry, touched: frozenset[str]) -> None:
        try:
            changed = self._change_services(new, old, touched)
        except PerdureError as error:
            logger.error("the services cannot be what they were: %s", error)
            return
        for each in filter(_has_failed, changed):
            logger.error("%s does not start again either: %s", each.id, each.error)


def _has_failed(service: ServiceStatus) -> bool:
    """It did not come up, by a fault of its own."""
    return service.state in (State.FAILED, State.EXITED) and service.error is not None
