"""Activities: functions that runs call. Attempts are journaled before they run; the first result
wins."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hosts.activity_context import activity_context
from hosts.activity_options import ActivityOptions, RetryPolicy, activity_options
from hosts.calls import Calls
from hosts.durable.attempts import Attempt, Key, check_id, result_record
from hosts.durable.execution import Activity, Execution
from hosts.durable.flights import Flight
from hosts.durable.places import Places
from hosts.durable.records import Record
from hosts.limits import Limits
from journal import faults
from journal.unit import Unit
from runtime import commands as c
from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

logger = logging.getLogger(__name__)

ATTEMPT_BEFORE: Final = faults.declare("host.attempt.before")
ATTEMPT_AFTER: Final = faults.declare("host.attempt.after")

#: Boots in which an activity may take the node down while it runs alone (durability.md, Poison).
POISON_BOOTS: Final = 3
#: How often an activity looks for a worker that serves its task queue, ns.
_LOOK_NS: Final = 1_000_000_000


class Activities:
    """Runs the activities of one shard; every method runs on the shard's thread.

    Args:
        default_retry: the worker's policy.
        limit: activities of the shard that run at once; more wait in order.
        lender_of: the shard whose places the activities of a task queue take; None while no
            worker serves the queue.
    """

    def __init__(
        self,
        shard: Shard,
        calls: Calls,
        default_retry: RetryPolicy,
        limit: int,
        lender_of: Callable[[str], Shard | None],
    ) -> None:
        self._shard = shard
        self._calls = calls
        self._deployed = shard.parts.deployed
        self._default_retry = default_retry
        self._lender_of = lender_of
        self.places = Places(limit)
        self._under_way: dict[Key, Attempt] = {}
        #: Options of calls that give none, by function.
        self._plain_options: dict[str, ActivityOptions] = {}
        self._plain_of = self._deployed.registry
        self._on_end: dict[Key, Callable[[], None]] = {}

    def call(self, execution: Execution, command: c.Call) -> None:
        """Run the first attempt of an activity."""
        self.schedule(execution, command.seq)

    def schedule(self, execution: Execution, seq: int) -> None:
        """Run the attempt that was just journaled, now or when there is room."""
        activity, key = execution.activities.get(seq), (execution.run, seq)
        if activity is None or key in self._under_way:
            return
        try:
            options = self._options(activity)
            if options.id is not None:
                check_id(execution, seq, options.id)
        except PerdureError as error:
            self._result(key, False, encode(error))
            return
        if options.task_queue is None and self.places.take():
            self._run(execution, activity, options, self.places.leave)
            return
        now = self._shard.deadlines.monotonic()
        begin = partial(self._begin, key, activity.attempt, now)
        if options.task_queue is None:
            self.places.wait(partial(begin, self.places.leave))
        else:
            self._borrow(options.task_queue, key, activity.attempt, begin)
        wait = _least(options.schedule_to_start, self._left(activity, options))
        if wait is not None:
            late = partial(self._shard.post, partial(self._too_late, key, activity.attempt))
            self._shard.deadlines.after(max(wait, 0), late)

    def _borrow(
        self, queue: str, key: Key, attempt: int, begin: Callable[[Callable[[], None]], None]
    ) -> None:
        """Begin in a place of the worker that serves a task queue, once there is one."""
        if not self._waits(key, attempt):
            return
        lender = self._lender_of(queue)
        if lender is None:
            logger.warning("activity %d of run %d: no worker serves %s", key[1], key[0], queue)
            again = partial(self._borrow, queue, key, attempt, begin)
            look = partial(self._shard.post, again)
            self._shard.deadlines.after(_LOOK_NS, look, background=True)
            return
        places, post = lender.activities.places, lender.post
        here = partial(self._shard.post, partial(begin, partial(post, places.leave)))

        def take() -> None:
            places.wait(here)

        post(take)

    def _waits(self, key: Key, attempt: int) -> bool:
        """Whether an attempt has neither begun nor lost its purpose."""
        execution = self._shard.runs.find_run(key[0])
        activity = execution.activities.get(key[1]) if execution is not None else None
        return activity is not None and activity.attempt == attempt and key not in self._under_way

    def _begin(self, key: Key, attempt: int, since: int, leave: Callable[[], None]) -> None:
        """A place is free for an attempt that waits since a monotonic time."""
        execution = self._shard.runs.find_run(key[0])
        if execution is None or not self._waits(key, attempt):
            leave()
            return
        waited = self._shard.deadlines.monotonic() - since
        self._try_run(execution, execution.activities[key[1]], leave, waited)

    def _too_late(self, key: Key, attempt: int) -> None:
        if self._waits(key, attempt):
            text = f"activity {key[1]} had not begun in time: no place was free"
            self._result(key, False, encode(PerdureError(Kind.TIMEOUT, text, False)))

    def _try_run(
        self, execution: Execution, activity: Activity, leave: Callable[[], None], waited: int = 0
    ) -> None:
        """Start an attempt that has a place, if its options are still right."""
        try:
            options = self._options(activity)
        except PerdureError as error:
            key = (execution.run, activity.record[1])
            attempt = self._under_way[key] = Attempt(key, leave)
            self._done(attempt, False, encode(error))
        else:
            self._run(execution, activity, options, leave, waited)

    def _run(
        self,
        execution: Execution,
        activity: Activity,
        options: ActivityOptions,
        leave: Callable[[], None],
        waited: int = 0,
    ) -> None:
        """Start an attempt that has a place."""
        _, seq, target, args, _, context = activity.record
        key = (execution.run, seq)
        attempt = self._under_way[key] = Attempt(key, leave)
        done = partial(self._done, attempt)
        inherited = activity_context(
            context, f"{execution.row.run_id}/{seq}", activity.attempt, activity.details, options.id
        )
        left = None if options.schedule_to_close is None else self._left(activity, options)
        patient = options.wait_for_cancellation
        faults.point(ATTEMPT_BEFORE)
        definition = self._deployed.definitions.get(target)
        if definition is not None and definition.inline:
            # It begins at once, and beats by itself.
            timeout = options.start_to_close
            if left is not None:
                timeout = max(min(timeout, left), 0)
            attempt.cancel = self._shard.inline.start(
                target, args, inherited, done, timeout, patient
            )
            return
        to_start = options.schedule_to_start
        limits = Limits(
            None if left is None else max(left, 0),
            None if to_start is None else max(to_start - waited, 0),
            options.start_to_close,
            options.heartbeat,
        )
        attempt.cancel = self._calls.attempt(
            target,
            args,
            inherited,
            lambda ok, value: self._shard.post(partial(done, ok, value)),
            limits,
            lambda details: self._beaten(key, attempt, details),
            patient=patient,
        )

    def _options(self, activity: Activity) -> ActivityOptions:
        _, _, target, _, raw, _ = activity.record
        if raw is None:
            if self._plain_of is not self._deployed.registry:
                self._plain_of = self._deployed.registry
                self._plain_options.clear()
            plain = self._plain_options.get(target)
            if plain is None:
                plain = activity_options({}, self._retry_of(target), self._default_retry)
                self._plain_options[target] = plain
            return plain
        options = decode(raw)
        return activity_options(
            options if isinstance(options, dict) else {},
            self._retry_of(target),
            self._default_retry,
        )

    def _retry_of(self, target: str) -> Any:
        """`meta.options.retry` of a function's entry, or None."""
        registry = self._deployed.registry
        options = registry.get(target).meta.get("options") if target in registry else None
        return options.get("retry") if isinstance(options, dict) else None

    def _left(self, activity: Activity, options: ActivityOptions) -> int | None:
        """Nanoseconds until schedule_to_close, None without one."""
        if options.schedule_to_close is None:
            return None
        return activity.scheduled + options.schedule_to_close - self._shard.deadlines.wall()

    def _beaten(self, key: Key, attempt: Attempt, details: Any) -> None:
        """A heartbeat, on the function's thread; raises PerdureError for details that cannot be
        kept."""
        if details is not None:
            kept = encode(details)
            self._shard.parts.payload_limit.check("heartbeat details", kept)
            self._shard.post(partial(self._keep, key, attempt, kept))

    def _keep(self, key: Key, attempt: Attempt, details: bytes) -> None:
        """Journal heartbeat details for the next attempt; of many at once the last."""
        execution = self._shard.runs.find_run(key[0])
        activity = execution.activities.get(key[1]) if execution is not None else None
        if activity is None or self._under_way.get(key) is not attempt:
            return
        activity.details = details
        if attempt.writing:
            attempt.unwritten = True
            return
        attempt.writing = True
        unit = Unit()
        activity.keep(key[0], unit)
        kept = partial(self._kept, key, attempt)
        self._shard.submit_then(unit, key[0], kept, kept)

    def _kept(self, key: Key, attempt: Attempt) -> None:
        attempt.writing = False
        execution = self._shard.runs.find_run(key[0])
        activity = execution.activities.get(key[1]) if execution is not None else None
        if attempt.unwritten and activity is not None and activity.details is not None:
            attempt.unwritten = False
            self._keep(key, attempt, activity.details)

    def _done(self, attempt: Attempt, ok: bool, value: bytes) -> None:
        key = attempt.key
        if self._under_way.get(key) is not attempt:
            return
        faults.point(ATTEMPT_AFTER)
        del self._under_way[key]
        ended = self._on_end.pop(key, None)
        if ended is not None:
            ended()
        self._result(key, ok, value)
        attempt.leave()

    def _result(self, key: Key, ok: bool, value: bytes) -> None:
        """Give an attempt's result to its run, or make another attempt."""
        run, seq = key
        execution = self._shard.runs.find_run(run)
        activity = execution.activities.get(seq) if execution is not None else None
        if execution is not None and activity is not None:
            ok, value = self._shard.parts.payload_limit.of_result(activity.record[2], ok, value)
            delay = None if ok else self._delay(activity, decode(value))
            if delay is None:
                self._shard.touch(execution, result_record(seq, ok, value))
            else:
                again = partial(self._shard.post, partial(self._retry, key, activity.attempt))
                self._shard.deadlines.after(delay, again)

    def _delay(self, activity: Activity, error: PerdureError) -> int | None:
        try:
            options = self._options(activity)
        except PerdureError:
            return None
        if error.kind == Kind.CANCELED or activity.cancelled:
            return None
        delay = options.retry.delay(activity.attempt, error)
        left = self._left(activity, options)
        return None if delay is None or (left is not None and left <= delay) else delay

    def _retry(self, key: Key, attempt: int, alone: bool = False) -> None:
        """Make another attempt, if an activity still has this one behind it."""
        execution = self._shard.runs.find_run(key[0])
        if execution is not None and self._waits(key, attempt):
            self._journal_attempt(execution, key[1], alone=alone)

    def _journal_attempt(self, execution: Execution, seq: int, *, alone: bool) -> None:
        """Write the next attempt of an activity, then run it."""
        activity = execution.activities.get(seq)
        if activity is None:
            return
        retry = partial(self._retry, (execution.run, seq), activity.attempt, alone)
        activity.attempt += 1
        activity.alone += alone
        unit = Unit()
        page: list[Record] = [["activity_attempt", seq, activity.attempt]]
        unit.append(execution.run, page)
        activity.keep(execution.run, unit)
        execution.count(page)
        start = self._run_alone if alone else self.schedule
        self._shard.submit_then(unit, execution.run, partial(start, execution, seq), retry)

    def _run_alone(self, execution: Execution, seq: int) -> None:
        if seq in execution.activities and (execution.run, seq) not in self._under_way:
            self.places.force()
            self._try_run(execution, execution.activities[seq], self.places.leave)

    def interrupted(self, run: int) -> list[int]:
        """Boot: numbers of the activities of a run that a crash interrupted."""
        execution = self._shard.runs.find_run(run)
        return [
            seq
            for seq, activity in (execution.activities if execution is not None else {}).items()
            if activity.restored and (run, seq) not in self._under_way
        ]

    def rerun_alone(self, run: int, seq: int, on_end: Callable[[], None]) -> None:
        """Run one of them again; `on_end` is called once it is over."""
        execution = self._shard.runs.find_run(run)
        activity = execution.activities.get(seq) if execution is not None else None
        if execution is None or activity is None or execution.suspended:
            on_end()
            return
        if activity.cancelled:
            self.cancel(execution, seq)
            on_end()
            return
        if activity.alone >= POISON_BOOTS:
            text = (
                f"{activity.record[2]} took the node down {activity.alone} times while it ran "
                "alone: it is not tried again"
            )
            logger.error("%s, activity %d: %s", execution.pid, seq, text)
            error = encode(PerdureError(Kind.INTERNAL, text, False))
            self._shard.touch(execution, ["activity_failed", seq, error])
            on_end()
            return
        self._on_end[run, seq] = on_end
        self._journal_attempt(execution, seq, alone=True)

    def harmless(self, run: int, seq: int) -> None:
        """An activity has run alone for long enough: it is not what took the node down."""
        execution = self._shard.runs.find_run(run)
        activity = execution.activities.get(seq) if execution is not None else None
        if activity is not None and activity.alone:
            activity.alone = 0
            unit = Unit()
            activity.keep(run, unit)
            self._shard.submit(unit, Flight(run))

    def cancel_call(self, execution: Execution, command: c.CancelCall) -> None:
        """The run no longer wants the result of a call."""
        self.cancel(execution, command.seq)

    def cancel(self, execution: Execution, seq: int) -> None:
        """The run no longer wants the result."""
        attempt = self._under_way.get((execution.run, seq))
        if attempt is not None:
            attempt.cancel()
        elif seq in execution.activities:
            error = encode(PerdureError(Kind.CANCELED, "canceled"))
            self._shard.touch(execution, ["activity_cancelled", seq, error])

    def cancel_run(self, run: int, seqs: list[int]) -> None:
        """The run ended: stop what still runs for it."""
        for seq in seqs:
            attempt = self._under_way.get((run, seq))
            if attempt is not None:
                attempt.cancel()

    def close(self) -> None:
        """The host stops in order, so what runs alone now has not taken the node down: this boot
        does not count. Functions that run are left to end, and are run again at the next."""
        for run, seq in self._on_end:
            execution = self._shard.runs.find_run(run)
            activity = execution.activities.get(seq) if execution is not None else None
            if activity is not None and activity.alone:
                activity.alone -= 1
                unit = Unit()
                activity.keep(run, unit)
                self._shard.submit(unit, Flight(run))


def _least(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
