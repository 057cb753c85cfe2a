"""The life of one service, as its supervisor's actor conducts it.

Only the actor touches a `Child`. No code of the service runs on the actor's thread: `start` and
`stop` run on a daemon thread per call, since calls are rare, and one that hangs must hold up
neither another service nor the end of the interpreter. They come back as messages.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable
from functools import partial

from hosts.timers import Timer, Timers
from runtime.backoff import Rng
from runtime.errors import Kind, PerdureError
from supervision.messages import Due, Exited, Goal, Report, Returned, ServiceStatus, Verb
from supervision.policy import Exit, Restart, decide
from supervision.service import Service, ServiceSpec
from supervision.state import ACTIVE, State, Trigger, next_state

logger = logging.getLogger(__name__)


class Child:
    """One service under supervision.

    Args:
        spec, service: what it is.
        timers, rng: where its deadlines wait, and the jitter of its restarts.
        post: puts a message into the supervisor's inbox, from any thread.
        changed: hears of every change of state, on the actor's thread.
    """

    def __init__(
        self,
        spec: ServiceSpec,
        service: Service,
        timers: Timers,
        rng: Rng,
        post: Callable[[Report], None],
        changed: Callable[[Child], None],
    ) -> None:
        self.spec = spec
        self.state = State.UNKNOWN
        self.goal = Goal.DOWN
        self._service = service
        self._timers = timers
        self._rng = rng
        self._post = post
        self._changed = changed
        self._run = 0  # number of the latest start; an exit of another run is stale
        self._attempt = 0  # in a row; 0 for a start that follows no failure
        self._restarts = 0
        self._running_since: int | None = None
        self._error: PerdureError | None = None
        self._exit_reason = ""
        self._calls: set[Verb] = set()  # those that have not come back
        self._failure: PerdureError | None = None  # why the start under way is given up
        self._early: Exited | None = None  # an exit reported before the start call came back
        self._late = False  # a start call came back after it was given up
        self._alarm: Timer | None = None
        self._alarms = 0  # number of the latest alarm; a deadline with another is stale

    @property
    def startable(self) -> bool:
        """Nothing of its own stands in the way of a start that is wanted."""
        idle = self.state not in ACTIVE and not self._calls and self._alarm is None
        return idle and self.goal is Goal.UP

    @property
    def stoppable(self) -> bool:
        """It is not wanted as it is, and its stop has not begun."""
        up = self.state in (State.STARTING, State.RUNNING, State.FAILED)
        return up and self.goal is not Goal.UP

    @property
    def available(self) -> bool:
        """What requires it may start: it runs and is to stay, or it did its work and returned."""
        if self.state is State.RUNNING:
            return self.goal is Goal.UP
        return self.state is State.EXITED and self._error is None and self.goal is Goal.DOWN

    def status(self, waiting_for: tuple[str, ...]) -> ServiceStatus:
        now = self._timers.clock.monotonic()
        retry = self._alarm if self.state is State.FAILED else None
        return ServiceStatus(
            id=self.spec.id,
            kind=self.spec.kind,
            state=self.state,
            uptime=None if self._running_since is None else now - self._running_since,
            restarts=self._restarts,
            error=self._error,
            next_attempt=None if retry is None else max(0, retry.due - now),
            waiting_for=waiting_for,
            exit_reason=self._exit_reason,
            hung=self.state is State.EXITED and bool(self._calls),
        )

    def forgive(self) -> None:
        """Forget past failures: somebody asked for a start, which then need not wait."""
        self._attempt = 0
        if self.state is State.FAILED:
            self._disarm()

    def start(self) -> None:
        self._run += 1
        self._restarts += self._attempt > 0
        self._early = None
        self._exit_reason = ""
        self._move(Trigger.START)
        self._arm(self.spec.start_timeout)
        self._call("start")

    def stop(self) -> None:
        self._disarm()
        self._running_since = None
        self._move(Trigger.STOP)
        if self.state is State.STOPPING:
            self._arm(self.spec.stop_timeout)
            self._call("stop")
        else:
            self._stopped()

    def on_exited(self, exited: Exited) -> None:
        if exited.run != self._run:
            return
        if self.state is State.RUNNING:
            self._ended(exited.reason)
        elif self.state is State.STARTING and self._early is None:
            self._early = exited

    def on_returned(self, verb: Verb, error: PerdureError | None) -> None:
        self._calls.remove(verb)
        if verb == "start" and self.state is State.STARTING:
            self._disarm()
            if error is None:
                self._started()
            else:
                self._ended(error)
            return
        if verb == "start" and error is None:
            self._late = True
        elif verb == "stop" and error is not None:
            logger.warning("the stop of %s raised %s", self.spec.id, error)
            self._error = error
        if self._calls:
            return
        if self._late:
            self._late = False
            self._call("stop")
        elif self.state is State.STOPPING:
            self._disarm()
            failure, self._failure = self._failure, None
            if failure is not None and self.goal is Goal.UP:
                self._ended(failure)
            else:
                self._move(Trigger.STOPPED)
                self._stopped()

    def on_due(self, number: int) -> None:
        if number != self._alarms or self._alarm is None:
            return
        self._alarm = None
        if self.state is State.STARTING:
            self._failure = self._timeout("start", self.spec.start_timeout)
            self.stop()
        elif self.state is State.STOPPING:
            self._error = self._timeout("stop", self.spec.stop_timeout)
            self._failure = None
            self.goal = Goal.DOWN
            self._exit(Trigger.ABANDON, "did not stop in time and was given up")

    def _started(self) -> None:
        self._running_since = self._timers.clock.monotonic()
        self._move(Trigger.STARTED)
        if self._early is not None:
            self._ended(self._early.reason)

    def _stopped(self) -> None:
        self._attempt = 0
        if self.goal is Goal.RESTART:
            self.goal = Goal.UP

    def _ended(self, reason: PerdureError | None) -> None:
        """It ended by itself, or did not come up: the policy says what follows."""
        since, now = self._running_since, self._timers.clock.monotonic()
        uptime = 0 if since is None else now - since
        self._running_since = None
        self._error = reason
        restart, threshold = self.spec.restart, self.spec.stable_threshold
        match decide(self._attempt, uptime, reason, restart, threshold, self._rng):
            case Restart(delay_ns, attempt):
                self._attempt = attempt
                self._arm(delay_ns)
                wait = _text(delay_ns)
                logger.warning(
                    "%s failed: %s; attempt %d in %s", self.spec.id, reason, attempt, wait
                )
                self._move(Trigger.FAIL)
            case Exit(why):
                self._exit(Trigger.EXIT, why)

    def _exit(self, trigger: Trigger, why: str) -> None:
        self.goal = Goal.UP if self.goal is Goal.RESTART else Goal.DOWN
        self._attempt = 0
        self._exit_reason = why
        level = logging.INFO if self._error is None else logging.ERROR
        logger.log(level, "%s exited: %s; error: %s", self.spec.id, why, self._error or "none")
        self._move(trigger)

    def _move(self, trigger: Trigger) -> None:
        self.state = next_state(self.state, trigger)
        logger.debug("%s is %s", self.spec.id, self.state)
        self._changed(self)

    def _arm(self, delay_ns: int) -> None:
        self._alarms += 1
        due = Due(self.spec.id, self._alarms)
        self._alarm = self._timers.add(
            self._timers.clock.monotonic() + delay_ns, partial(self._post, due)
        )

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._timers.cancel(self._alarm)
            self._alarm = None

    def _call(self, verb: Verb) -> None:
        self._calls.add(verb)
        call = self._service.stop if verb == "stop" else partial(self._start_run, self._run)

        def report() -> None:
            self._post(Returned(self.spec.id, verb, _error_of(call)))

        name = f"perdure-{verb}-{self.spec.id}"
        try:
            threading.Thread(target=report, name=name, daemon=True).start()
        except RuntimeError as error:  # the system grants no more threads
            self._post(
                Returned(self.spec.id, verb, PerdureError(Kind.UNAVAILABLE, f"{name}: {error}"))
            )

    def _start_run(self, run: int) -> None:
        self._service.attach(lambda reason: self._post(Exited(self.spec.id, run, reason)))
        self._service.start()

    def _timeout(self, verb: Verb, limit: int) -> PerdureError:
        text = f"{self.spec.id} did not {verb} within {_text(limit)} ({verb}_timeout)"
        return PerdureError(Kind.TIMEOUT, text)


def _error_of(call: Callable[[], None]) -> PerdureError | None:
    """What `call` raised, whatever it was: SystemExit in a service must end nothing but it."""
    try:
        call()
    except PerdureError as error:
        return error
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"
        return PerdureError(Kind.INTERNAL, text, trace=traceback.format_exc())
    return None


def _text(duration_ns: int) -> str:
    return f"{duration_ns / 1e9:g}s"
