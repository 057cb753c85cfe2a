"""The life of one service, as its supervisor conducts it.

Only the supervisor's actor touches a `Child`. No code of the service runs on the actor's thread:
`start` and `stop` run elsewhere, since one that hangs must hold up neither another service nor the
end of the interpreter. They come back as messages.

What stands in the way of a start or a stop is found in the services it is tied to: what it
requires, what requires it, and its supervisor. Each change of a child is told to `Means.touched`,
for those may be able to go on then.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hosts.throttle import Throttle
from hosts.timers import Timer, Timers
from runtime.backoff import Rng
from runtime.errors import Kind, PerdureError
from supervision.messages import Due, Exited, Goal, Report, Returned, ServiceStatus, Troubling, Verb
from supervision.policy import Exit, Restart, decide
from supervision.service import Afflicted, PromptService, Service, ServiceSpec, Troubled
from supervision.state import ACTIVE, State, Trigger, next_state

if TYPE_CHECKING:
    from supervision.group import Group

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Means:
    """What the children of one tree share."""

    #: Where deadlines wait.
    timers: Timers
    #: For the jitter of restarts.
    rng: Rng
    #: Puts a message into the supervisor's inbox, from any thread.
    post: Callable[[Report], None]
    #: For services that fail in a loop.
    throttle: Throttle
    #: Runs a call that may block on another thread, named as given.
    run: Callable[[str, Callable[[], None]], None]
    #: Hears of a child whose goal or state has changed, on the actor's thread.
    touched: Callable[[Child], None]
    #: Hears of each transition of a child, and of the state before.
    moved: Callable[[Child, State], None]


class Child:
    """One service under supervision."""

    def __init__(self, spec: ServiceSpec, service: Service | None, means: Means) -> None:
        self.spec = spec
        self.state = State.UNKNOWN
        self.goal = Goal.DOWN
        #: It is about to be replaced or taken out: it is not started, whatever the goal.
        self.withheld = False
        #: Ties, set by the tree: its supervisor and its place there, None for the root's.
        self.parent: Group | None = None
        self.place = 0
        self.requires: list[Child] = []
        self.dependents: list[Child] = []
        self.service = service
        self._means = means
        self._run = 0  # number of the latest start; an exit of another run is stale
        self._attempt = 0  # in a row; 0 for a start that follows no failure
        self._restarts = 0
        self._running_since: int | None = None
        self._error: PerdureError | None = None
        self._told: PerdureError | None = None  # trouble that it was last told to be in
        self._exit_reason = ""
        self._calls: set[Verb] = set()  # those that have not come back
        self._failure: tuple[PerdureError, int] | None = None  # why it is given up, its uptime then
        self._early: Exited | None = None  # an exit reported before the start call came back
        self._late = False  # a start call came back after it was given up
        self._alarm: Timer | None = None
        self._alarms = 0  # number of the latest alarm; a deadline with another is stale

    # How it is ------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """It may be at work, so that what it requires has to stay."""
        return self.state in ACTIVE

    @property
    def up(self) -> bool:
        """It runs, and is to stay."""
        return self.state is State.RUNNING and self.goal is Goal.UP

    @property
    def available(self) -> bool:
        """What requires it may start: it is up, or it did its work and returned."""
        if self.state is State.EXITED:
            return self._error is None and self.goal is Goal.DOWN
        return self.up

    @property
    def startable(self) -> bool:
        """Nothing of its own stands in the way of a start that is wanted."""
        idle = not self.active and not self._calls and self._alarm is None
        return idle and self.goal is Goal.UP and not self.withheld

    @property
    def stoppable(self) -> bool:
        """It is not wanted as it is, and its stop has not begun."""
        up = self.state in (State.STARTING, State.RUNNING, State.FAILED)
        return up and self.goal is not Goal.UP

    @property
    def leaving(self) -> bool:
        """It is on its way down, or should be."""
        return self.goal is not Goal.UP and (self.active or self.state is State.FAILED)

    @property
    def passed(self) -> bool:
        """Siblings to the right need not wait for it: it is up, or nobody waits for it to be."""
        gone = self.state is State.EXITED and bool(self._calls)
        return self.up or self.goal is Goal.DOWN or gone

    def holders(self) -> Iterator[Child]:
        """What has to be up before its start can begin."""
        for each in self.requires:
            if not each.available:
                yield each
        if self.parent is not None:
            yield from self.parent.holding_back(self)

    @property
    def may_stop(self) -> bool:
        """Nothing that leaves has to leave before it. What stays goes on without it."""
        if any(each.active and each.goal is not Goal.UP for each in self.dependents):
            return False
        return self.parent is None or self.parent.lets_go(self)

    def status(self) -> ServiceStatus:
        now = self._means.timers.clock.monotonic()
        retry = self._alarm if self.state is State.FAILED else None
        held = self.holders() if self.startable else ()
        trouble = self._trouble()
        return ServiceStatus(
            id=self.spec.id,
            kind=self.spec.kind,
            supervisor="" if self.parent is None else self.parent.spec.id,
            state=self.state if trouble is None else State.FAILED,
            uptime=None if self._running_since is None else now - self._running_since,
            restarts=self._restarts,
            error=trouble or self._error,
            next_attempt=None if retry is None else max(0, retry.due - now),
            waiting_for=tuple(each.spec.id for each in held),
            exit_reason=self._exit_reason,
            hung=self.state is State.EXITED and bool(self._calls),
        )

    def _trouble(self) -> PerdureError | None:
        running = self.state is State.RUNNING
        return self.service.trouble if running and isinstance(self.service, Troubled) else None

    @property
    def _shown(self) -> State:
        """Its state, as events tell it."""
        return self.state if self._told is None else State.FAILED

    def event(self, old: State) -> dict[str, Any]:
        """The transition from `old`, as `Supervisor` tells it."""
        clock = self._means.timers.clock
        retry = self._alarm if self.state is State.FAILED else None
        return {
            "id": self.spec.id,
            "kind": self.spec.kind,
            "supervisor": "" if self.parent is None else self.parent.spec.id,
            "from": old.value,
            "to": self._shown.value,
            "at": clock.wall(),
            "restarts": self._restarts,
            "error": self._told or self._error,
            "next_attempt": None if retry is None else retry.due - clock.monotonic(),
            "reason": self._exit_reason,
        }

    # What is asked of it --------------------------------------------------------------------------

    def aim(self, goal: Goal) -> None:
        self.goal = goal
        self._look_again()

    def forgive(self) -> None:
        """Forget past failures: somebody asked for a start, which then need not wait."""
        self._attempt = 0
        if self.state is State.FAILED:
            self._disarm()
            self._look_again()

    def start(self) -> None:
        self._run += 1
        self._restarts += self._attempt > 0
        self._early = None
        self._exit_reason = ""
        self._move(Trigger.START)
        self._begin("start")

    def stop(self) -> None:
        self._disarm()
        self._running_since = None
        self._move(Trigger.STOP)
        if self.state is State.STOPPING:
            self._begin("stop")
        else:
            self._stopped()

    # What is heard of it --------------------------------------------------------------------------

    def on_exited(self, exited: Exited) -> None:
        if exited.run != self._run:
            return
        if self.state is State.RUNNING:
            self._ended(exited.reason, self._uptime())
        elif self.state is State.STARTING and self._early is None:
            self._early = exited

    def on_returned(self, verb: Verb, error: PerdureError | None) -> None:
        self._calls.remove(verb)
        self._look_again()
        if verb == "start" and self.state is State.STARTING:
            self._disarm()
            if error is None:
                self._started()
            else:
                self._ended(error, 0)
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
                self._ended(*failure)
            else:
                self._move(Trigger.STOPPED)
                self._stopped()

    def on_trouble(self) -> None:
        for each in (self, *self.dependents):
            each._tell_trouble()

    def on_due(self, number: int) -> None:
        if number != self._alarms or self._alarm is None:
            return
        self._alarm = None
        self._look_again()
        if self.state is State.STARTING:
            self._give_up(self._timeout("start", self.spec.start_timeout))
        elif self.state is State.STOPPING:
            self._error = self._timeout("stop", self.spec.stop_timeout)
            self._failure = None
            self.goal = Goal.DOWN
            self._exit(Trigger.ABANDON, "did not stop in time and was given up")

    # Its moves ------------------------------------------------------------------------------------

    def _started(self) -> None:
        self._running_since = self._means.timers.clock.monotonic()
        self._move(Trigger.STARTED)
        if self._early is not None:
            self._ended(self._early.reason, 0)
        self._tell_trouble()

    def _stopped(self) -> None:
        self._attempt = 0
        if self.goal is Goal.RESTART:
            self.aim(Goal.UP)

    def _give_up(self, error: PerdureError) -> None:
        """It has failed and is still at work: it is stopped first."""
        self._failure = (error, self._uptime())
        self.stop()

    def _ended(self, reason: PerdureError | None, uptime: int) -> None:
        """It ended by itself, or did not come up: the policy says what follows."""
        self._running_since = None
        self._error = reason
        restart, threshold = self.spec.restart, self.spec.stable_threshold
        match decide(self._attempt, uptime, reason, restart, threshold, self._means.rng):
            case Restart(delay_ns, attempt):
                self._attempt = attempt
                if delay_ns:
                    self._arm(delay_ns)
                more = self._means.throttle.passes(self.spec.id)
                if more is not None:
                    wait = f"in {_text(delay_ns)}" if delay_ns else "at once"
                    text = "%s failed: %s; attempt %d %s%s"
                    logger.warning(text, self.spec.id, reason, attempt, wait, more)
                self._move(Trigger.FAIL)
                if self.parent is not None and reason is not None:
                    self.parent.on_crash(self, reason)
            case Exit(why):
                self._exit(Trigger.EXIT, why)

    def _exit(self, trigger: Trigger, why: str) -> None:
        self.goal = Goal.UP if self.goal is Goal.RESTART else Goal.DOWN
        self._attempt = 0
        self._exit_reason = why
        level = logging.INFO if self._error is None else logging.ERROR
        logger.log(level, "%s exited: %s; error: %s", self.spec.id, why, self._error or "none")
        self._move(trigger)

    def _tell_trouble(self) -> None:
        trouble = self._trouble()
        if (trouble is None) is not (self._told is None):
            old, self._told = self._shown, trouble
            self._means.moved(self, old)

    def _move(self, trigger: Trigger) -> None:
        old, self._told = self._shown, None
        self.state = next_state(self.state, trigger)
        logger.debug("%s is %s", self.spec.id, self.state)
        self._look_again()
        self._means.moved(self, old)

    def _look_again(self) -> None:
        """Something may be able to go on that could not before."""
        if self.parent is not None:
            self.parent.expect(self)
        self._means.touched(self)

    def _uptime(self) -> int:
        since = self._running_since
        return 0 if since is None else self._means.timers.clock.monotonic() - since

    def _arm(self, delay_ns: int) -> None:
        self._alarms += 1
        due = Due(self, self._alarms)
        timers = self._means.timers
        self._alarm = timers.add(
            timers.clock.monotonic() + delay_ns, partial(self._means.post, due)
        )

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._means.timers.cancel(self._alarm)
            self._alarm = None

    # Calls into the service -----------------------------------------------------------------------

    def _begin(self, verb: Verb) -> None:
        self._arm(self.spec.start_timeout if verb == "start" else self.spec.stop_timeout)
        self._call(verb)

    def _call(self, verb: Verb) -> None:
        self._calls.add(verb)
        service = self.service
        assert service is not None
        if verb == "start":
            exited = partial(Exited, self, self._run)
            service.attach(lambda reason: self._means.post(exited(reason)))
            if isinstance(service, Afflicted):
                service.attach_trouble(lambda: self._means.post(Troubling(self)))

        def done(error: PerdureError | None) -> None:
            self._means.post(Returned(self, verb, error))

        if isinstance(service, PromptService):
            begin = service.begin_start if verb == "start" else service.begin_stop
            if (error := _error_of(partial(begin, done))) is not None:
                done(error)
            return
        call = service.start if verb == "start" else service.stop
        name = f"perdure-{verb}-{self.spec.id}"
        try:
            self._means.run(name, lambda: done(_error_of(call)))
        except RuntimeError as refused:  # the system grants no more threads
            done(PerdureError(Kind.UNAVAILABLE, f"{name}: {refused}"))

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
