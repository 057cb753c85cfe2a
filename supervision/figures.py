"""The figures of a node that it keeps anyway, as metrics: what is in each is its help text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from hosts.durable.host import WorkflowHost
from hosts.modules.events import EventBus
from hosts.modules.metrics import Sample
from hosts.process.host import ProcessHost
from hosts.reports import ReportsRuns
from journal.journal import Journal
from runtime.errors import PerdureError
from runtime.routing.router import Router
from supervision.lmdb_service import LmdbService
from supervision.supervisor import Supervisor


def figures(
    services: Mapping[str, Any], supervisor: Supervisor, router: Router, events: EventBus
) -> Iterator[Sample]:
    """Every figure as it is now."""
    yield _total("dead_letters", router.dead_letters.count, "Messages that found nobody.")
    yield _total("events_published", events.published, "Events sent on the bus.")
    yield _total("events_dropped", events.dropped, "Events lost to slow subscribers.")
    states = Counter(str(status.state) for status in supervisor.status())
    for state, count in sorted(states.items()):
        yield _gauge("services", count, "Services in a state.", state=state)
    for service in services.values():
        if isinstance(service, ProcessHost):
            help_text = "Processes that live on a host."
            yield _gauge("processes", service.population, help_text, host=service.id)
            help_text = "Messages that full inboxes of a host dropped or refused."
            yield _total("inbox_dropped", service.dropped, help_text, host=service.id)
        elif isinstance(service, ReportsRuns):
            help_text = "Runs of a host that are in memory."
            yield _gauge("runs_live", service.live, help_text, host=service.id)
            if isinstance(service, WorkflowHost):
                yield from _runs(service)
        elif isinstance(service, LmdbService):
            yield from _commits(service)


def _runs(host: WorkflowHost) -> Iterator[Sample]:
    tally = host.tally()
    started = tally.pop("started", 0)
    yield _total("runs_started", started, "Runs started since the host was.", host=host.id)
    for status, count in sorted(tally.items()):
        help_text = "Runs that ended since the host was started."
        yield _total("runs_ended", count, help_text, host=host.id, status=status)


def _commits(service: LmdbService[Any]) -> Iterator[Sample]:
    try:
        opened = service.opened()
    except PerdureError:
        return
    if isinstance(opened, Journal):
        help_text = "Transactions that a journal has synced to disk."
        yield _total("journal_commits", opened.commits, help_text, journal=service.id)
        help_text = "Units (steps, starts, signals …) in those transactions."
        yield _total("journal_units", opened.units, help_text, journal=service.id)


def _total(name: str, value: float, help_text: str, **labels: str) -> Sample:
    return Sample(f"perdure_{name}_total", "counter", labels, value, help_text)


def _gauge(name: str, value: float, help_text: str, **labels: str) -> Sample:
    return Sample(f"perdure_{name}", "gauge", labels, value, help_text)
