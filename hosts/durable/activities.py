"""Activities: functions that runs call. Attempts are journaled before they run; the first result
wins."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hosts.activity_context import activity_context
from hosts.activity_options import ActivityOptions, RetryPolicy
from hosts.calls import Calls
from hosts.durable.attempts import Attempt, Key, check_id, result_record
from hosts.durable.execution import Activity, Execution
from hosts.durable.options import Options
from hosts.durable.places import Places
from hosts.durable.records import Record
from hosts.limits import Limits
from hosts.points import ATTEMPT_AFTER, ATTEMPT_BEFORE
from journal import faults
from journal.unit import Unit
from runtime import commands as c
from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

logger = logging.getLogger(__name__)

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
        self._options = Options(shard.parts.deployed, default_retry)
        self._lender_of = lender_of
        self.places = Places(limit)
        self.under_way: dict[Key, Attempt] = {}

    def call(self, execution: Execution, command: c.Call) -> None:
        """Run the first attempt of an activity."""
        self.schedule(execution, command.seq)

    def schedule(self, execution: Execution, seq: int) -> None:
        """Run the attempt that was just journaled, now or when there is room."""
        activity, key = execution.activities.get(seq), (execution.run, seq)
        if activity is None or key in self.under_way:
            return
        try:
            options = self._options.of(activity)
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
        left = options.left(activity.scheduled, self._shard.deadlines.wall)
        wait = _least(options.schedule_to_start, left)
        if wait is not None:
            late = partial(self._shard.post, partial(self._too_late, key, activity.attempt))
            self._shard.deadlines.after(max(wait, 0), late)

    def _borrow(
        self, queue: str, key: Key, attempt: int, begin: Callable[[Callable[[], None]], None]
    ) -> None:
        """Begin in a place of the worker that serves a task queue, once there is one."""
        if self._waiting(key, attempt) is None:
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

    def _waiting(self, key: Key, attempt: int) -> tuple[Execution, Activity] | None:
        """The activity of an attempt that has neither begun nor lost its purpose, and its run."""
        found = None if key in self.under_way else self._shard.runs.find_activity(key)
        return found if found is not None and found[1].attempt == attempt else None

    def _begin(self, key: Key, attempt: int, since: int, leave: Callable[[], None]) -> None:
        """A place is free for an attempt that waits since a monotonic time."""
        found = self._waiting(key, attempt)
        if found is None:
            leave()
        else:
            self._try_run(*found, leave, self._shard.deadlines.monotonic() - since)

    def _too_late(self, key: Key, attempt: int) -> None:
        if self._waiting(key, attempt) is not None:
            text = f"activity {key[1]} had not begun in time: no place was free"
            self._result(key, False, encode(PerdureError(Kind.TIMEOUT, text, False)))

    def _try_run(
        self, execution: Execution, activity: Activity, leave: Callable[[], None], waited: int = 0
    ) -> None:
        """Start an attempt that has a place, if its options are still right."""
        try:
            options = self._options.of(activity)
        except PerdureError as error:
            key = (execution.run, activity.record[1])
            attempt = self.under_way[key] = Attempt(key, leave)
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
        attempt = self.under_way[key] = Attempt(key, leave)
        done = partial(self._done, attempt)
        inherited = activity_context(
            context, f"{execution.row.run_id}/{seq}", activity.attempt, activity.details, options.id
        )
        left = options.left(activity.scheduled, self._shard.deadlines.wall)
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

    def _beaten(self, key: Key, attempt: Attempt, details: Any) -> None:
        """A heartbeat, on the function's thread; raises PerdureError for details that cannot be
        kept."""
        if details is not None:
            kept = encode(details)
            self._shard.parts.payload_limit.check("heartbeat details", kept)
            self._shard.post(partial(self._keep, key, attempt, kept))

    def _keep(self, key: Key, attempt: Attempt, details: bytes) -> None:
        """Journal heartbeat details for the next attempt; of many at once the last."""
        found = self._shard.runs.find_activity(key)
        if found is None or self.under_way.get(key) is not attempt:
            return
        _, activity = found
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
        found = self._shard.runs.find_activity(key)
        if attempt.unwritten and found is not None and found[1].details is not None:
            attempt.unwritten = False
            self._keep(key, attempt, found[1].details)

    def _done(self, attempt: Attempt, ok: bool, value: bytes) -> None:
        key = attempt.key
        if self.under_way.get(key) is not attempt:
            return
        faults.point(ATTEMPT_AFTER)
        del self.under_way[key]
        self._result(key, ok, value)
        attempt.leave()

    def _result(self, key: Key, ok: bool, value: bytes) -> None:
        """Give an attempt's result to its run, or make another attempt."""
        found = self._shard.runs.find_activity(key)
        if found is None:
            return
        execution, activity = found
        ok, value = self._shard.parts.payload_limit.of_result(activity.record[2], ok, value)
        delay = None if ok else self._delay(activity, decode(value))
        if delay is None:
            self._shard.give(execution, result_record(key[1], ok, value))
        else:
            again = partial(self._shard.post, partial(self._retry, key, activity.attempt))
            self._shard.deadlines.after(delay, again)

    def _delay(self, activity: Activity, error: PerdureError) -> int | None:
        try:
            options = self._options.of(activity)
        except PerdureError:
            return None
        if error.kind == Kind.CANCELED or activity.cancelled:
            return None
        delay = options.retry.delay(activity.attempt, error)
        left = options.left(activity.scheduled, self._shard.deadlines.wall)
        return None if delay is None or (left is not None and left <= delay) else delay

    def _retry(self, key: Key, attempt: int, alone: bool = False) -> None:
        """Make another attempt, if an activity still has this one behind it."""
        found = self._waiting(key, attempt)
        if found is not None:
            self.journal_attempt(*found, alone=alone)

    def journal_attempt(self, execution: Execution, activity: Activity, *, alone: bool) -> None:
        """Write the next attempt of an activity, then run it: alone, or as others."""
        run, seq = execution.run, activity.record[1]
        retry = partial(self._retry, (run, seq), activity.attempt, alone)
        activity.attempt += 1
        activity.alone += alone
        unit = Unit()
        page: list[Record] = [["activity_attempt", seq, activity.attempt]]
        unit.append(run, page)
        activity.keep(run, unit)
        execution.count(page)
        start = self._run_alone if alone else self.schedule
        self._shard.submit_then(unit, run, partial(start, execution, seq), retry)

    def _run_alone(self, execution: Execution, seq: int) -> None:
        activity, key = execution.activities.get(seq), (execution.run, seq)
        if activity is not None and key not in self.under_way:
            self.places.force()
            self._try_run(execution, activity, partial(self._leave_alone, key))

    def _leave_alone(self, key: Key) -> None:
        self.places.leave()
        self._shard.poison.over(key)

    def cancel_call(self, execution: Execution, command: c.CancelCall) -> None:
        """The run no longer wants the result of a call."""
        self.cancel(execution, command.seq)

    def cancel(self, execution: Execution, seq: int) -> None:
        """The run no longer wants the result."""
        attempt = self.under_way.get((execution.run, seq))
        if attempt is not None:
            attempt.cancel()
        elif seq in execution.activities:
            error = encode(PerdureError(Kind.CANCELED, "canceled"))
            self._shard.touch(execution, ["activity_cancelled", seq, error])

    def cancel_run(self, run: int, seqs: list[int]) -> None:
        """The run ended: stop what still runs for it."""
        for seq in seqs:
            attempt = self.under_way.get((run, seq))
            if attempt is not None:
                attempt.cancel()


def _least(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
