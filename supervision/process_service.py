"""`process.service`: a process that is kept running."""

from __future__ import annotations

import threading
from typing import Any, Final

from hosts.clients import Clients
from hosts.timers import Timers
from runtime.codec import encode_args
from runtime.errors import PerdureError
from runtime.inputs import StartOptions
from runtime.routing.router import Router, SpawnRequest
from supervision.service import OnExit

#: How long a start waits for the host's answer, s. The host answers from its inbox; this is for one
#: whose VM is held up.
_ANSWER: Final = 10.0


class ProcessService:
    """Spawns its process, watches it, and reports its end.

    Args:
        stop_timeout: seconds between CANCEL and the end.
    """

    def __init__(
        self,
        service_id: str,
        process: str,
        host: str,
        args: list[Any],
        router: Router,
        clients: Clients,
        timers: Timers,
        stop_timeout: float,
    ) -> None:
        self.id = service_id
        self._process = process
        self._host = host
        self._args = encode_args(args)
        self._router = router
        self._clients = clients
        self._timers = timers
        self._stop_timeout = stop_timeout
        self._on_exit: OnExit = lambda reason: None
        self._ended = threading.Event()
        self._watcher = ""
        self.pid: str | None = None

    def attach(self, on_exit: OnExit) -> None:
        self._on_exit = on_exit

    def start(self) -> None:
        on_exit, ended = self._on_exit, threading.Event()
        self._ended = ended

        def on_event(event: dict[str, Any]) -> None:
            if event["kind"] == "pid.exit":
                self.pid = None
                self._clients.unwatch(watcher)
                ended.set()
                result = event.get("result")
                error = result.get("error") if isinstance(result, dict) else None
                on_exit(error if isinstance(error, PerdureError) else None)

        watcher = self._watcher = self._clients.watch(on_event)
        start: StartOptions = {"watchers": [watcher]}
        request = SpawnRequest(self._process, self._host, self._args, start)

        def spawn(reply: tuple[str, int]) -> None:
            start["reply"] = reply
            self._router.spawn(request)

        try:
            pid = self._clients.ask(spawn, _ANSWER, f"start of {self._process} on {self._host}")
        except PerdureError:
            self._clients.unwatch(watcher)
            raise
        if not ended.is_set():
            self.pid = pid

    def stop(self) -> None:
        pid = self.pid
        if pid is None:
            return
        self._control(pid, "stop")
        deadline = self._timers.clock.monotonic() + int(self._stop_timeout * 1e9)
        terminate = self._timers.add(deadline, lambda: self._control(pid, "terminate"))
        self._ended.wait()
        self._timers.cancel(terminate)

    def _control(self, pid: str, verb: str) -> None:
        nobody = self._clients.expect(lambda ok, value: None)
        self._router.control(pid, verb, self._watcher, "the service stops", nobody)
