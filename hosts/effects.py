"""Commands that mean the same on every host: what leaves a slot for elsewhere on the node.

The process host performs them at once, the workflow host after the commit. Each is answered to the
slot that issued it, through the router.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from hosts.throttle import Throttle
from runtime import commands as c
from runtime import inputs
from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError
from runtime.inputs import StartOptions
from runtime.routing.router import Origin, Router, SpawnRequest

user_log = logging.getLogger("perdure.lua")
_LEVELS = {
    "debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR
}  # fmt: skip


def send(router: Router, command: c.Send, key: Origin | None = None) -> None:
    """Send a message; `key` makes a repeated one to a workflow harmless."""
    reply = (command.pid, command.seq)
    router.send(command.dest, command.topic, command.pid, command.args, reply, key)


def spawn_request(command: c.Spawn) -> SpawnRequest:
    """The request that a spawn command stands for."""
    start: StartOptions = {"parent": command.pid}
    reply = (command.pid, command.seq)
    if command.flags & c.EXEC:
        start["outcome"] = reply
    else:
        start["reply"] = reply
    if command.flags & c.MONITORED:
        start["watchers"] = [command.pid]
    if command.flags & c.LINKED:
        start["links"] = [command.pid]
    if command.context is not None:
        start["context"] = command.context
    if command.messages:
        start["messages"] = list(command.messages)
    settings: dict[str, Any] = {}
    if command.options is not None:
        decoded = decode(command.options)
        settings = decoded if isinstance(decoded, dict) else {}
    return SpawnRequest(command.entry, command.host, command.args, start, command.name, settings)


def control(router: Router, command: c.Control) -> None:
    """terminate, cancel, monitor, unmonitor, link, unlink."""
    reply = (command.pid, command.seq)
    router.control(command.dest, command.verb, command.pid, command.reason, reply)


def name(router: Router, command: c.Name) -> None:
    """register, lookup, unregister, hold."""
    reply = (command.pid, command.seq)
    names = router.names
    try:
        target = command.target or command.pid
        if command.verb == "register" and target != command.pid:
            # The VM of the other one gives the name, or knows that there is no such process.
            router.deliver(inputs.name(router.resolve(target), command.name, reply))
            return
        if command.verb == "lookup":
            holder = router.lookup(command.name)
            if holder is None:
                raise PerdureError(Kind.NOT_FOUND, f'no process holds the name "{command.name}"')
            router.answer(reply, encode(holder))
            return
        if command.verb in ("register", "hold"):
            names.register(command.name, target)
        else:
            names.unregister(command.name)
        router.answer(reply)
    except PerdureError as error:
        router.refuse(reply, error)


def ask(router: Router, command: c.Ask) -> None:
    """Ask the Python half of a module."""
    reply = (command.pid, command.seq)
    router.ask(command.module, command.verb, command.pid, command.args, reply)


def tell(router: Router, command: c.Tell) -> None:
    """Tell the Python half of a module."""
    router.ask(command.module, command.verb, command.pid, command.args)


def log(command: c.Log) -> None:
    """Write a line of user code to the node's log.

    The record has `pid`, `entry` and `fields` (a dict) as attributes, for handlers that want them.
    """
    level = _LEVELS.get(command.level, logging.INFO)
    if not user_log.isEnabledFor(level):
        return
    pid, entry, _, message, encoded = command
    fields = (decode(encoded) if encoded is not None else None) or {}
    suffix = f" {json.dumps(fields, default=_shown, ensure_ascii=False)}" if fields else ""
    extra = {"pid": pid, "entry": entry, "fields": fields}
    user_log.log(level, "%s %s: %s%s", pid, entry, message, suffix, extra=extra)


def _shown(value: object) -> str:
    """A value of a field that JSON does not have: bytes, an error."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


#: A host's table: command class -> what it does.
Performers = dict[type[Any], Callable[[Any], None]]


def log_failure(command: c.Ended, throttle: Throttle) -> None:
    """An end with an error goes to the node's log, once, with its traceback."""
    error = decode(command.value)
    if isinstance(error, PerdureError) and error.kind != Kind.CANCELED:
        more = throttle.passes(error.message)
        if more is not None:
            pid, entry = command.pid, command.entry or "unknown entry"
            user_log.error("%s (%s) ended with an error%s: %s", pid, entry, more, explain(error))


def explain(error: PerdureError) -> str:
    """An error and, below it, the traceback of where it was raised."""
    return f"{error}\n{error.trace}" if error.trace else str(error)
