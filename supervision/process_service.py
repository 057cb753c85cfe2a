"""`process.service`: a process that is kept running."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import Any

from hosts.clients import Clients
from hosts.timers import Timers
from runtime.codec import decode, encode_args
from runtime.errors import PerdureError
from runtime.inputs import StartOptions
from runtime.routing.router import Router, SpawnRequest
from supervision.service import OnDone, OnExit, PromptService

logger = logging.getLogger(__name__)


class ProcessService(PromptService):
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
        self._watcher = ""
        #: Held where a stop and the end of the process meet.
        self._lock = threading.Lock()
        self._on_started: OnDone | None = None
        self._on_stopped: OnDone | None = None
        self.pid: str | None = None

    def attach(self, on_exit: OnExit) -> None:
        self._on_exit = on_exit

    def begin_start(self, done: OnDone) -> None:
        """It has started when the first step of its process has ended without an error."""
        on_exit, self._on_started = self._on_exit, done
        ended = False

        def on_event(event: dict[str, Any]) -> None:
            nonlocal ended
            if event["kind"] != "pid.exit":
                return
            ended = True
            forget()
            result = event.get("result")
            error = result.get("error") if isinstance(result, dict) else None
            reason = error if isinstance(error, PerdureError) else None
            self._ended()  # first: whoever hears of the exit may start the next run
            if not self._started(reason) or reason is None:
                on_exit(reason)

        def spawned(ok: bool, value: bytes) -> None:
            if not ok:
                forget()
                self._started(decode(value))
            elif not ended:
                self.pid = decode(value)

        def forget() -> None:
            self._clients.unwatch(watcher)
            self._clients.forget(up)

        def is_up(ok: bool, value: bytes) -> None:
            self._started(None)

        watcher = self._watcher = self._clients.watch(on_event)
        up = self._clients.expect(is_up)
        start: StartOptions = {
            "watchers": [watcher],
            "reply": self._clients.expect(spawned),
            "up": up,
        }
        self._router.spawn(SpawnRequest(self._process, self._host, self._args, start))

    def _started(self, error: PerdureError | None) -> bool:
        """The start is done, for better or worse; false when it was done before."""
        with self._lock:
            done, self._on_started = self._on_started, None
        if done is not None:
            done(error)
        return done is not None

    def begin_stop(self, done: OnDone) -> None:
        with self._lock:
            pid = self.pid
            if pid is not None:
                deadline = self._timers.clock.monotonic() + int(self._stop_timeout * 1e9)
                end = self._timers.add(deadline, partial(self._give_up, pid))

                def stopped(error: PerdureError | None) -> None:
                    self._timers.cancel(end)
                    done(error)

                self._on_stopped = stopped
        if pid is None:
            done(None)
        else:
            self._control(pid, "stop")

    def _give_up(self, pid: str) -> None:
        logger.warning(
            "%s: its process %s did not end within %gs of CANCEL: it is terminated",
            self.id, pid, self._stop_timeout,
        )  # fmt: skip
        self._control(pid, "terminate")

    def _ended(self) -> None:
        with self._lock:
            self.pid = None
            stopped, self._on_stopped = self._on_stopped, None
        if stopped is not None:
            stopped(None)

    def _control(self, pid: str, verb: str) -> None:
        nobody = self._clients.expect(lambda ok, value: None)
        self._router.control(pid, verb, self._watcher, "the service stops", nobody)
