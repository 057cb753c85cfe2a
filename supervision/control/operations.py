"""What can be asked of a live node through its control socket, by name.

An operation is a function of the node and the parameters of the request; its signature is what
requests are checked against.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from journal.errors import JournalError
from runtime.config.problems import suggest
from runtime.errors import Kind, PerdureError
from supervision.control import registry, workflows
from supervision.messages import ServiceStatus

if TYPE_CHECKING:
    from supervision.node import Node

logger = logging.getLogger("perdure.control")

#: What an annotation of an operation's parameter takes of JSON.
_TYPES: Final[dict[str, tuple[type[Any], ...]]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "list[Any]": (list,),
    "dict[str, Any]": (dict,),
    "None": (type(None),),
}


@dataclass(frozen=True, slots=True)
class Operations:
    """The operations on one node."""

    node: Node

    def run(self, name: str, params: Mapping[str, Any]) -> Any:
        """The result of an operation, or a Waiting for what takes as long as it takes.

        Raises PerdureError: INVALID for a request that is wrong, else what the node says.
        """
        operation = OPERATIONS.get(name)
        if operation is None:
            hint = suggest(name, OPERATIONS, "there are {}")
            raise PerdureError(Kind.INVALID, f'there is no operation "{name}"; {hint}')
        _check(name, operation, params)
        try:
            return operation(self.node, **params)
        except PerdureError:
            raise
        except JournalError as error:
            raise PerdureError(Kind.UNAVAILABLE, str(error)) from error
        except Exception as error:
            logger.exception("the operation %s failed", name)
            raise PerdureError(Kind.INTERNAL, f"{name}: {type(error).__name__}: {error}") from error


def services(node: Node) -> list[dict[str, Any]]:
    """Every service, each supervisor before its children; durations are seconds."""
    return [_fields(each) for each in node.services()]


def start_service(node: Node, service: str) -> dict[str, Any]:
    """Start a service, and what it requires."""
    return _fields(node.supervisor.start_child(service))


def stop_service(node: Node, service: str) -> dict[str, Any]:
    """Stop a service, after what requires it."""
    return _fields(node.supervisor.stop_child(service))


def restart_service(node: Node, service: str) -> dict[str, Any]:
    """Stop a service, after what requires it, and start them again."""
    return _fields(node.supervisor.restart_child(service))


def processes(node: Node) -> list[dict[str, Any]]:
    """Every process: pid, entry, waiting messages, parent, names."""
    return node.processes()


def dead_letters(node: Node) -> dict[str, Any]:
    """How many messages found nobody, and the latest of them: at, to, topic, from."""
    return {"count": node.status()["dead_letters"], "latest": node.dead_letters()}


def metrics(node: Node) -> list[dict[str, Any]]:
    """Every figure: name, kind, labels, value."""
    return [
        {"name": each.name, "kind": each.kind, "labels": dict(each.labels), "value": each.value}
        for each in node.metrics()
    ]


def metrics_text(node: Node) -> str:
    """Every figure in Prometheus's text format."""
    return node.metrics_text()


def spawn(node: Node, entry: str, host: str, args: list[Any] | None = None) -> dict[str, Any]:
    """Start a process."""
    return {"pid": node.spawn(entry, host, *(args or ()))}


def send(
    node: Node, to: str, topic: str, payload: list[Any] | None = None, key: str | None = None
) -> None:
    """Send a message to a PID or name."""
    node.send(to, topic, *(payload or ()), key=key)


def cancel(node: Node, target: str, reason: str = "") -> None:
    """Ask a process or workflow to end."""
    node.cancel(target, reason)


def terminate(node: Node, target: str) -> None:
    """End a process or workflow at once."""
    node.terminate(target)


OPERATIONS: Final[dict[str, Callable[..., Any]]] = {
    "services": services,
    "services.start": start_service,
    "services.stop": stop_service,
    "services.restart": restart_service,
    "processes": processes,
    "dead_letters": dead_letters,
    "metrics": metrics,
    "metrics.text": metrics_text,
    "spawn": spawn,
    "send": send,
    "cancel": cancel,
    "terminate": terminate,
    "registry.list": registry.listed,
    "registry.show": registry.show,
    "registry.versions": registry.versions,
    "registry.apply": registry.apply,
    "registry.rollback": registry.rollback,
    "registry.export": registry.export,
    "workflows.list": workflows.listed,
    "workflows.hint": workflows.hint,
    "workflows.show": workflows.show,
    "workflows.history": workflows.history,
    "workflows.start": workflows.start,
    "workflows.send": workflows.send,
    "workflows.cancel": workflows.cancel,
    "workflows.terminate": workflows.terminate,
    "workflows.wait": workflows.wait,
    "workflows.migrate": workflows.migrate,
}


def _check(name: str, operation: Callable[..., Any], params: Mapping[str, Any]) -> None:
    """Raise PerdureError INVALID unless `operation` takes these parameters."""
    _, *known = inspect.signature(operation).parameters.values()
    by_name = {each.name: each for each in known}
    for param, value in params.items():
        if param not in by_name:
            hint = suggest(param, by_name, "it takes {}" if by_name else "it takes none")
            text = f'the operation {name} has no parameter "{param}"; {hint}'
            raise PerdureError(Kind.INVALID, text)
        annotation = str(by_name[param].annotation)
        if not any(_fits(value, each) for each in annotation.split(" | ")):
            text = f'parameter "{param}" of {name}: {value!r} is not a {annotation}'
            raise PerdureError(Kind.INVALID, text)
    for each in known:
        if each.default is each.empty and each.name not in params:
            raise PerdureError(Kind.INVALID, f'the operation {name} needs "{each.name}"')


def _fits(value: Any, annotation: str) -> bool:
    if isinstance(value, bool) and annotation != "bool":
        return False
    return isinstance(value, _TYPES[annotation])


def _fields(status: ServiceStatus) -> dict[str, Any]:
    """A service's status as JSON shows it."""
    return {
        "id": status.id,
        "kind": status.kind,
        "supervisor": status.supervisor,
        "state": status.state,
        "uptime": _seconds(status.uptime),
        "restarts": status.restarts,
        "error": status.error,
        "next_attempt": _seconds(status.next_attempt),
        "waiting_for": status.waiting_for,
        "exit_reason": status.exit_reason,
        "hung": status.hung,
    }


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e9
