"""From the registry to services: which kind is built by what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from hosts.calls import Calls
from hosts.clients import Clients
from hosts.deployed import Deployed
from hosts.durable.host import WorkflowHost
from hosts.durable.limit import PayloadLimit
from hosts.durable.options import ONCE, retry_policy
from hosts.modules.stores import LmdbStore, Stores
from hosts.process.host import ProcessHost
from hosts.timers import Timers
from journal.journal import Journal
from journal.kv import KeyValues
from runtime.config.registry import Entry, Registry
from runtime.config.services import service_dependencies
from runtime.routing.router import Router
from supervision.lmdb_service import LmdbService
from supervision.process_service import ProcessService
from supervision.service import RestartPolicy, Service, ServiceSpec

_SECOND: Final = 1e9


@dataclass(slots=True)
class Parts:
    """What the services of a node share."""

    registry: Registry
    boot: int
    router: Router
    clients: Clients
    calls: Calls
    timers: Timers
    deployed: Deployed
    stores: Stores


def build_services(parts: Parts) -> list[tuple[ServiceSpec, Service]]:
    """All services of the registry, with their specs, journals first."""
    requires = service_dependencies(parts.registry)
    built: dict[str, Service] = {}
    services: list[tuple[ServiceSpec, Service]] = []
    for kind, build in _BUILDERS.items():
        for entry in parts.registry.of_kind(kind):
            service = build(entry, parts, built)
            built[entry.id] = service
            services.append((service_spec(entry, requires.get(entry.id, set())), service))
    return services


def service_spec(entry: Entry, requires: set[str]) -> ServiceSpec:
    """How an entry is supervised: its `lifecycle`."""
    lifecycle = entry.data["lifecycle"]
    restart = lifecycle["restart"]
    return ServiceSpec(
        entry.id,
        entry.kind,
        lifecycle["auto_start"],
        lifecycle["start_timeout"],
        lifecycle["stop_timeout"],
        lifecycle["stable_threshold"],
        tuple(sorted(requires)),
        RestartPolicy(
            restart["initial_delay"],
            restart["max_delay"],
            restart["backoff_factor"],
            restart["jitter"],
            restart["max_attempts"],
        ),
    )


def _stop_timeout(entry: Entry) -> float:
    """Seconds a host gives its processes: most of its own time, so that it ends within it."""
    return float(entry.data["lifecycle"]["stop_timeout"] / _SECOND * 0.8)


def _journal(entry: Entry, parts: Parts, built: dict[str, Service]) -> LmdbService[Journal]:
    return LmdbService(entry.id, entry.data["path"], Journal.open)


def _store(entry: Entry, parts: Parts, built: dict[str, Service]) -> LmdbService[KeyValues]:
    service = LmdbService(entry.id, entry.data["path"], KeyValues.open)
    parts.stores.add(LmdbStore(entry.id, service.opened, parts.timers.clock))
    return service


def _process_host(entry: Entry, parts: Parts, built: dict[str, Service]) -> ProcessHost:
    limits = entry.data["limits"]
    return ProcessHost(
        entry.id,
        parts.deployed,
        parts.boot,
        parts.router,
        parts.clients,
        parts.calls,
        parts.timers,
        workers=entry.data["host"]["workers"],
        max_processes=entry.data["host"]["max_processes"],
        fuel=limits["fuel"],
        memory=limits["memory"],
        stop_timeout=_stop_timeout(entry),
    )


def _terminal_host(entry: Entry, parts: Parts, built: dict[str, Service]) -> ProcessHost:
    return ProcessHost(
        entry.id,
        parts.deployed,
        parts.boot,
        parts.router,
        parts.clients,
        parts.calls,
        parts.timers,
        stop_timeout=_stop_timeout(entry),
    )


def _workflow_host(entry: Entry, parts: Parts, built: dict[str, Service]) -> WorkflowHost:
    data = entry.data
    journal = built[data["journal"]]
    assert isinstance(journal, LmdbService)
    limits = data["limits"]
    policy = data["retry_policy"]

    return WorkflowHost(
        entry.id,
        parts.deployed,
        journal.opened,
        parts.router,
        parts.clients,
        parts.calls,
        parts.timers,
        task_queue=data["task_queue"],
        workers=data["workers"],
        fuel=limits["fuel"],
        memory=limits["memory"],
        cache=data["cache"],
        payload_limit=PayloadLimit(
            data["journal"], parts.registry.get(data["journal"]).data["payload_limit"]
        ),
        activities=limits["activities"],
        retry_policy=retry_policy(_in_ms(policy)) if policy else ONCE,
    )


def _in_ms(policy: dict[str, Any]) -> dict[str, Any]:
    """A policy from YAML, whose durations are nanoseconds, as one of an option, in milliseconds."""
    return {
        name: value / 1e6 if name in ("initial_interval", "maximum_interval") else value
        for name, value in policy.items()
    }


def _process_service(entry: Entry, parts: Parts, built: dict[str, Service]) -> ProcessService:
    data = entry.data
    return ProcessService(
        entry.id,
        data["process"],
        data["host"],
        data["input"],
        parts.router,
        parts.clients,
        parts.timers,
        _stop_timeout(entry),
    )


_BUILDERS: Final[dict[str, Callable[[Entry, Parts, dict[str, Service]], Service]]] = {
    "journal.lmdb": _journal,
    "store.lmdb": _store,
    "workflow.host": _workflow_host,
    "temporal.worker": _workflow_host,
    "process.host": _process_host,
    "terminal.host": _terminal_host,
    "process.service": _process_service,
}
