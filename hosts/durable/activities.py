"""Activities: functions that runs call. Attempts are journaled before they run; the first result
wins."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgpack

from hosts.calls import Calls, Cancel
from hosts.durable.execution import Activity, Execution
from hosts.durable.flight import Flight
from hosts.durable.options import ActivityOptions, RetryPolicy, activity_options
from hosts.durable.records import Record
from journal import faults
from journal.unit import Unit
from runtime.codec import decode, encode
from runtime.errors import Kind, PerdureError

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

logger = logging.getLogger(__name__)

_RESULT_RECORDS: Final = {
    Kind.TIMEOUT: "activity_timed_out",
    Kind.CANCELED: "activity_cancelled",
}
ATTEMPT_BEFORE: Final = faults.declare("host.attempt.before")
ATTEMPT_AFTER: Final = faults.declare("host.attempt.after")

#: Boots in which an activity may take the node down while it runs alone (durability.md, Poison).
POISON_BOOTS: Final = 3


class Activities:
    """Runs the activities of one shard; every method runs on the shard's thread.

    Args:
        retry_of: `meta.options.retry` of a function's entry, or None.
        default_retry: the worker's policy.
        limit: activities of the shard that run at once; more wait in order.
    """

    def __init__(
        self,
        shard: Shard,
        calls: Calls,
        retry_of: Callable[[str], Any],
        default_retry: RetryPolicy,
        limit: int,
    ) -> None:
        self._shard = shard
        self._calls = calls
        self._retry_of = retry_of
        self._default_retry = default_retry
        self._limit = limit
        self._running: dict[tuple[int, int], Cancel] = {}
        self._queue: deque[tuple[int, int]] = deque()
        #: While activities that a crash interrupted are run one at a time, others wait.
        self.held = False
        #: Options of calls that give none, by function.
        self._plain_options: dict[str, ActivityOptions] = {}
        self._on_end: dict[tuple[int, int], Callable[[], None]] = {}

    def schedule(self, execution: Execution, seq: int) -> None:
        """Run the attempt that was just journaled, now or when there is room."""
        if self.held or len(self._running) >= self._limit:
            self._queue.append((execution.run, seq))
        else:
            self._run(execution, seq)

    def release(self) -> None:
        """Others need not wait any more."""
        self.held = False
        self._next()

    def _next(self) -> None:
        while self._queue and not self.held and len(self._running) < self._limit:
            run, seq = self._queue.popleft()
            execution = self._shard.runs.find_run(run)
            if execution is not None:
                self._run(execution, seq)

    def _run(self, execution: Execution, seq: int) -> None:
        activity = execution.activities.get(seq)
        if activity is None or (execution.run, seq) in self._running:
            return
        run, attempt = execution.run, activity.attempt
        _, _, target, args, _, context = activity.record
        done = partial(self._came_back, run, seq, attempt)
        try:
            options = self._options(activity)
        except PerdureError as error:
            done(False, encode(error))
            return
        key = f"{execution.row.run_id}/{seq}"
        inherited = activity_context(context, key, attempt)
        timeout = options.start_to_close
        left = self._left(activity, options)
        if left is not None:
            timeout = min(timeout, max(left, 0))
        self._running[run, seq] = lambda: None
        faults.point(ATTEMPT_BEFORE)
        if self._is_inline(target):
            done = partial(self._done, run, seq, attempt)
            cancel = self._shard.inline.start(target, args, inherited, done, timeout)
        else:
            cancel = self._calls.attempt(target, args, inherited, done, timeout)
        if (run, seq) in self._running:
            self._running[run, seq] = cancel

    def _is_inline(self, target: str) -> bool:
        definition = self._shard.parts.definitions.get(target)
        return definition is not None and definition.inline

    def _options(self, activity: Activity) -> ActivityOptions:
        _, _, target, _, raw, _ = activity.record
        if raw is None:
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

    def _left(self, activity: Activity, options: ActivityOptions) -> int | None:
        """Nanoseconds until schedule_to_close, None without one."""
        if options.schedule_to_close is None:
            return None
        return activity.scheduled + options.schedule_to_close - self._shard.deadlines.wall()

    def _came_back(self, run: int, seq: int, attempt: int, ok: bool, value: bytes) -> None:
        """On whatever thread the function ended."""
        self._shard.post(partial(self._done, run, seq, attempt, ok, value))

    def _done(self, run: int, seq: int, attempt: int, ok: bool, value: bytes) -> None:
        faults.point(ATTEMPT_AFTER)
        self._running.pop((run, seq), None)
        ended = self._on_end.pop((run, seq), None)
        if ended is not None:
            ended()
        execution = self._shard.runs.find_run(run)
        activity = execution.activities.get(seq) if execution is not None else None
        if execution is not None and activity is not None:
            delay = None if ok else self._delay(activity, attempt, decode(value))
            if delay is None:
                self._shard.touch(execution, _result(seq, ok, value))
            else:
                again = partial(self._shard.post, partial(self._retry, run, seq))
                self._shard.deadlines.after(delay, again)
        self._next()

    def _delay(self, activity: Activity, attempt: int, error: PerdureError) -> int | None:
        try:
            options = self._options(activity)
        except PerdureError:
            return None
        if error.kind == Kind.CANCELED:
            return None
        delay = options.retry.delay(attempt, error)
        left = self._left(activity, options)
        return None if delay is None or (left is not None and left <= delay) else delay

    def _retry(self, run: int, seq: int) -> None:
        execution = self._shard.runs.find_run(run)
        if execution is not None:
            self._journal_attempt(execution, seq, alone=False)

    def _journal_attempt(self, execution: Execution, seq: int, *, alone: bool) -> None:
        """Write the next attempt of an activity, then run it."""
        activity = execution.activities.get(seq)
        if activity is None:
            return
        activity.attempt += 1
        activity.alone += alone
        unit = Unit()
        page: list[Record] = [["activity_attempt", seq, activity.attempt]]
        unit.append(execution.run, page)
        unit.put_activity(execution.run, seq, [activity.attempt, activity.alone])
        execution.count(page)
        start = self._run if alone else self.schedule
        self._shard.submit_then(unit, execution.run, partial(start, execution, seq))

    def rerun_alone(self, run: int, seq: int, on_end: Callable[[], None]) -> None:
        """Boot: run again what a crash interrupted; `on_end` is called once it is over."""
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
            unit.put_activity(run, seq, [activity.attempt, 0])
            self._shard.submit(unit, Flight(run))

    def cancel(self, execution: Execution, seq: int) -> None:
        """The run no longer wants the result."""
        cancel = self._running.get((execution.run, seq))
        if cancel is not None:
            cancel()
        elif seq in execution.activities:
            error = encode(PerdureError(Kind.CANCELED, "canceled"))
            self._shard.touch(execution, ["activity_cancelled", seq, error])

    def cancel_run(self, run: int, seqs: list[int]) -> None:
        """The run ended: stop what still runs for it."""
        for seq in seqs:
            cancel = self._running.get((run, seq))
            if cancel is not None:
                cancel()

    def close(self) -> None:
        """The host stops: functions that run are left to end or to be run again at the next
        boot."""
        self._queue.clear()


def activity_context(context: bytes | None, key: str, attempt: int) -> bytes:
    """The context of an attempt: what the run handed on, and what the function is told of
    itself."""
    values: dict[str, Any] = {"activity.attempt": attempt, "activity.key": key}
    if context is None:
        # Canonical as it stands, the keys being in order; encode() would take ten times as long.
        return bytes(msgpack.packb(values))
    inherited = decode(context)
    return encode({**inherited, **values} if isinstance(inherited, dict) else values)


def _result(seq: int, ok: bool, value: bytes) -> Record:
    if ok:
        return ["activity_completed", seq, value]
    return [_RESULT_RECORDS.get(decode(value).kind, "activity_failed"), seq, value]
