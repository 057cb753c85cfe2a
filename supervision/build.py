"""From the registry to services: which kind is built by what."""

from __future__ import annotations

import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from hosts.activity_options import ONCE, retry_policy
from hosts.calls import Calls
from hosts.clients import Clients
from hosts.deployed import Deployed
from hosts.durable.host import WorkflowHost
from hosts.durable.limit import PayloadLimit
from hosts.functions import PythonFunctions
from hosts.modules.stores import LmdbStore, Stores
from hosts.process.host import ProcessHost
from hosts.timers import Timers
from journal.journal import Journal
from journal.kv import KeyValues
from runtime.config.registry import Entry
from runtime.config.service_fields import SERVICES
from runtime.config.services import families, service_dependencies
from runtime.inbox import InboxLimit
from runtime.routing.router import Router
from supervision.journal_service import JournalService
from supervision.lmdb_service import LmdbService
from supervision.messages import Supervised
from supervision.process_service import ProcessService
from supervision.service import Family, RestartPolicy, Service, ServiceSpec, Strategy

logger = logging.getLogger(__name__)

_SECOND: Final = 1e9
_TIMEOUTS: Final = ("start_timeout", "stop_timeout")

ServiceT = TypeVar("ServiceT")


@dataclass(slots=True)
class Parts:
    """What the services of a node share."""

    boot: int
    router: Router
    clients: Clients
    calls: Calls
    timers: Timers
    deployed: Deployed
    stores: Stores
    python: PythonFunctions
    #: Every service that has code of its own, by id, as it is now.
    services: dict[str, Service] = field(default_factory=dict)
    #: Numbers for the VMs of each process host, which outlive it: no PID is used again.
    vm_numbers: defaultdict[str, Iterator[int]] = field(
        default_factory=lambda: defaultdict(itertools.count)
    )

    def of_type(self, kind: type[ServiceT]) -> list[ServiceT]:
        """The services that are of a class."""
        return [each for each in self.services.values() if isinstance(each, kind)]


def build_services(parts: Parts) -> list[Supervised]:
    """All services of the registry, with their specs; they are in `parts.services` then."""
    return built_services(parts, parts.deployed.registry.of_kind(*SERVICES))


def built_services(parts: Parts, entries: Iterable[Entry]) -> list[Supervised]:
    """Services of the registry, built anew, with their specs; they are in `parts.services` then."""
    registry, entries = parts.deployed.registry, list(entries)
    requires = service_dependencies(registry)
    supervised = {child for family in families(registry).values() for child in family}
    services = {
        entry.id: _BUILDERS[entry.kind](entry, parts)
        for entry in entries
        if entry.kind != "process.supervisor"
    }
    parts.services = {**parts.services, **services}
    return [
        (service_spec(entry, requires[entry.id], entry.id in supervised), services.get(entry.id))
        for entry in entries
    ]


def service_spec(entry: Entry, requires: set[str], supervised: bool) -> ServiceSpec:
    """How an entry is supervised: its `lifecycle`; `supervised` where a supervisor names it."""
    lifecycle = entry.data["lifecycle"]
    restart = lifecycle["restart"]
    delay = restart["initial_delay"]
    policy = RestartPolicy(
        (0 if supervised else RestartPolicy().initial_delay) if delay is None else delay,
        restart["max_delay"],
        restart["backoff_factor"],
        restart["jitter"],
        restart["max_attempts"],
    )
    timeouts = {name: lifecycle[name] for name in _TIMEOUTS if name in lifecycle}
    return ServiceSpec(
        entry.id,
        entry.kind,
        lifecycle["auto_start"],
        stable_threshold=lifecycle["stable_threshold"],
        requires=tuple(sorted(requires)),
        restart=policy,
        family=_family(entry) if entry.kind == "process.supervisor" else None,
        **timeouts,
    )


def _family(entry: Entry) -> Family:
    data = entry.data
    return Family(
        tuple(data["children"]),
        Strategy(data["strategy"]),
        data["intensity"]["restarts"],
        data["intensity"]["period"],
    )


def _stop_timeout(entry: Entry) -> float:
    """Seconds a host gives its processes: most of its own time, so that it ends within it."""
    return float(entry.data["lifecycle"]["stop_timeout"] / _SECOND * 0.8)


def _journal(entry: Entry, parts: Parts) -> JournalService:
    return JournalService(entry.id, entry.data["path"], parts.timers, entry.data["retention"])


def _store(entry: Entry, parts: Parts) -> LmdbService[KeyValues]:
    service = LmdbService(entry.id, entry.data["path"], KeyValues.open)
    parts.stores.add(LmdbStore(entry.id, service.opened, parts.timers.clock))
    return service


def _process_host(entry: Entry, parts: Parts) -> ProcessHost:
    limits = entry.data["limits"]
    return _host(
        entry,
        parts,
        workers=entry.data["host"]["workers"],
        max_processes=entry.data["host"]["max_processes"],
        fuel=limits["fuel"],
        memory=limits["memory"],
        inbox=InboxLimit(**limits["inbox"]),
        isolated=entry.data["isolation"] == "vm",
    )


def _host(entry: Entry, parts: Parts, **limits: Any) -> ProcessHost:
    """A host of processes; without limits that of a terminal."""
    return ProcessHost(
        entry.id,
        parts.deployed,
        parts.python,
        parts.boot,
        parts.router,
        parts.clients,
        parts.calls,
        parts.timers,
        stop_timeout=_stop_timeout(entry),
        vm_numbers=parts.vm_numbers[entry.id],
        **limits,
    )


def _workflow_host(entry: Entry, parts: Parts) -> WorkflowHost:
    data = entry.data

    def journal() -> Journal:
        service = parts.services[data["journal"]]
        assert isinstance(service, JournalService)
        return service.opened()

    limits = data["limits"]
    policy = data["retry_policy"]

    return WorkflowHost(
        entry.id,
        parts.deployed,
        journal,
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
            data["journal"], parts.deployed.registry.get(data["journal"]).data["payload_limit"]
        ),
        activities=limits["activities"],
        retry_policy=retry_policy(_in_ms(policy)) if policy else ONCE,
    )


def _temporal_client(entry: Entry, parts: Parts) -> Service:
    # The extra `perdure[temporal]`: the preflight check has seen that it is there.
    from hosts.temporal.connection import TemporalClient
    from hosts.temporal.requests import NodeRequests

    return TemporalClient(entry.id, entry.data, NodeRequests(parts.router))


def _temporal_worker(entry: Entry, parts: Parts) -> Service:
    data = entry.data
    if parts.deployed.registry.get(data["client"]).kind == "journal.lmdb":
        for name, value in data["worker_options"].items():
            if value is not None:
                text = "%s: worker_options.%s has no effect on a journal.lmdb"
                logger.warning(text, entry.id, name)
        return _workflow_host(entry, parts)
    from hosts.temporal.connection import TemporalClient
    from hosts.temporal.worker import Settings, TemporalWorker

    def client() -> TemporalClient:
        service = parts.services[data["client"]]
        assert isinstance(service, TemporalClient)
        return service

    policy, limits = data["retry_policy"], data["limits"]
    settings = Settings(
        data["task_queue"],
        data["workers"],
        limits["fuel"],
        limits["memory"],
        data["cache"],
        limits["activities"],
        data["heartbeat_timeout"],
        data["task_timeout"],
        retry_policy(_in_ms(policy)) if policy else ONCE,
        data["worker_options"],
    )
    return TemporalWorker(
        entry.id, parts.deployed, client, parts.router, parts.calls, parts.timers, settings
    )


def _in_ms(policy: dict[str, Any]) -> dict[str, Any]:
    """A policy from YAML, whose durations are nanoseconds, as one of an option, in milliseconds."""
    return {
        name: value / 1e6 if name in ("initial_interval", "maximum_interval") else value
        for name, value in policy.items()
    }


def _process_service(entry: Entry, parts: Parts) -> ProcessService:
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


_BUILDERS: Final[dict[str, Callable[[Entry, Parts], Service]]] = {
    "journal.lmdb": _journal,
    "store.lmdb": _store,
    "workflow.host": _workflow_host,
    "temporal.client": _temporal_client,
    "temporal.worker": _temporal_worker,
    "process.host": _process_host,
    "terminal.host": _host,
    "process.service": _process_service,
}
