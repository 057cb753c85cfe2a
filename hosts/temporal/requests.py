"""What a run asks of the node it is on, as a local activity: its answer is in the history.

Processes, names and most modules are a node's own. The request is written as a map, so that a
person can read it; the node performs it as it does those of processes.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, Final

from temporalio.common import RetryPolicy

from hosts import effects
from hosts.points import REQUEST_AFTER
from hosts.temporal.payloads import check_size
from journal import faults
from runtime import commands as c
from runtime import inputs
from runtime.codec import decode, encode
from runtime.errors import PerdureError
from runtime.ids import is_pid
from runtime.inputs import Input
from runtime.lua.machine import MACHINE_VERSION
from runtime.routing.router import Router

#: Types of our own activities. No entry has such a name: it would have a colon.
BEGIN: Final = "perdure.begin"
NODE: Final = "perdure.node"
ATTRIBUTES: Final = "perdure.attributes"
#: How the last run of a workflow stands.
STATUS: Final = "perdure.status"
#: Waits for the end of a workflow that is no child.
WAIT: Final = "perdure.wait"
#: Signal by which an event reaches a run, such as the end of a process that it has started.
EVENT: Final = "@event"
#: Signal ahead of a request to cancel a run: it brings the PID of who asks for that. Where that
#: was requested before, which the server takes once, it brings the reason and is the request.
CANCEL: Final = "@cancel"

#: How the local ones run. What they wait for on the node answers within 30 s.
TIMES: Final[dict[str, Any]] = {
    "schedule_to_close_timeout": timedelta(minutes=10),
    "start_to_close_timeout": timedelta(minutes=1),
    "retry_policy": RetryPolicy(maximum_attempts=3),
}

#: How those run that ask the server: until it answers.
PATIENT: Final[dict[str, Any]] = {"start_to_close_timeout": timedelta(minutes=1)}

#: Look-ups of names under way, each of which may wait for the server.
_LOOK_UPS: Final = 16

Request = c.Send | c.Spawn | c.Control | c.Name | c.Ask
_NAMES: Final[dict[type[Any], str]] = {
    c.Send: "send",
    c.Spawn: "spawn",
    c.Control: "control",
    c.Name: "name",
    c.Ask: "ask",
}
_KINDS: Final = {name: kind for kind, name in _NAMES.items()}
#: Fields of commands that are encoded.
_ENCODED: Final = ("args", "options", "context")


def written(command: Request) -> dict[str, Any]:
    """A request as a map; `read` gives it back."""
    fields = command._asdict()
    del fields["pid"], fields["seq"]
    for name in _ENCODED:
        if fields.get(name) is not None:
            fields[name] = decode(fields[name])
    if "messages" in fields:
        fields["messages"] = [[topic, decode(args)] for topic, args in fields["messages"]]
    given = {name: value for name, value in fields.items() if value is not None}
    return {"request": _NAMES[type(command)], **given}


def read(fields: Mapping[str, Any], pid: str, seq: int) -> Request:
    """The request that a map says, of the run `pid`, to be answered under a number."""
    kind = _KINDS[fields["request"]]
    values = {name: fields.get(name) for name in kind._fields}
    for name in _ENCODED:
        if values.get(name) is not None:
            values[name] = encode(values[name])
    if "messages" in values:
        given: Any = values["messages"] or ()
        values["messages"] = [(topic, encode(args)) for topic, args in given]
    request: Request = kind(**{**values, "pid": pid, "seq": seq})
    return request


class NodeRequests:
    """Performs the requests of runs of the workers of a client, which may answer for each other: a
    run has the PID that its start gave, whichever of them runs it."""

    def __init__(self, router: Router) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Callable[[bool, bytes], None]] = {}
        self._look_ups = ThreadPoolExecutor(_LOOK_UPS, "perdure-look-up")
        self._router = router
        self._performers: effects.Performers = {
            c.Control: partial(effects.control, router),
            c.Name: partial(_name, router),
            c.Ask: partial(effects.ask, router),
        }

    async def perform(
        self, fields: Mapping[str, Any], pid: str, run_id: str, activity: int
    ) -> list[Any]:
        """Do what a request asks for; whether it went well, and its answer, a plain value.

        Args:
            activity: number of the activity that the request is in its run, the same when it is
                made again after a crash, so that a workflow takes a message, and is started, once.
        """
        loop, number = asyncio.get_running_loop(), next(self._numbers)
        answer: asyncio.Future[tuple[bool, bytes]] = loop.create_future()

        def settle(ok: bool, value: bytes) -> None:
            if not answer.done():
                answer.set_result((ok, value))

        self._waiting[number] = lambda ok, value: _soon(loop, settle, ok, value)
        request = read(fields, pid, number)
        work = partial(self._perform, request, fields, run_id, activity)
        try:
            # A look-up at the server waits for this very loop, and nothing else for a look-up.
            await loop.run_in_executor(self._look_ups if _looks_up(request) else None, work)
            ok, value = await answer
        finally:
            self._waiting.pop(number, None)
        faults.point(REQUEST_AFTER)
        try:
            check_size("the answer", value)
        except PerdureError as error:
            return [False, error]
        return [ok, decode(value)]

    def _perform(
        self, request: Request, fields: Mapping[str, Any], run_id: str, activity: int
    ) -> None:
        if not isinstance(request, (c.Send, c.Spawn)):
            self._performers[type(request)](request)
            return
        # A step that is taken anew may ask for something else: then it is another request.
        content = hashlib.sha256(encode(fields)).hexdigest()
        origin = (f"{run_id}/{content}", 0, activity)
        if isinstance(request, c.Send):
            effects.send(self._router, request, origin)
        else:
            spawn = effects.spawn_request(request)
            spawn.parent = origin
            self._router.spawn(spawn)

    def answered(self, item: Input) -> None:
        """An answer has come; from any thread."""
        settle = self._waiting.pop(item[2], None)
        if settle is not None:
            settle(item[3], item[4])


def _name(router: Router, command: c.Name) -> None:
    """As those of processes; the host of a run that takes a name hears of its end, and frees it."""
    if command.verb == "register" and command.target in (None, command.pid):
        reply = (command.pid, command.seq)
        router.deliver(inputs.name(command.pid, command.name, reply))
    else:
        effects.name(router, command)


def _looks_up(request: Request) -> bool:
    """Whether a request has a name that the server may know."""
    if isinstance(request, (c.Send, c.Control)):
        return not is_pid(request.dest)
    return isinstance(request, c.Name)


def _soon(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: Any) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback, *args)


def beginning(blob: bytes | None) -> list[Any]:
    """What a run begins with that a foreign client has started: seed, version of the machine and
    compressed source."""
    return [os.urandom(32), MACHINE_VERSION, None if blob is None else zlib.compress(blob)]
