"""Options of activities, read from what the user wrote, and what reads those of workflows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from hosts.call_options import CallOptions, Retry, duration_ns
from runtime.backoff import delay_ns
from runtime.config.problems import suggest
from runtime.config.units import LARGEST
from runtime.errors import Kind, PerdureError

_MS: Final = 1_000_000
#: start_to_close of an activity that says nothing (lua-api.md): 10 minutes.
DEFAULT_TIMEOUT_NS: Final = 600_000_000_000


class RetryPolicy(NamedTuple):
    """When a failed activity is tried again; durations are nanoseconds."""

    initial_interval: int = 1_000 * _MS
    backoff_coefficient: float = 2.0
    maximum_interval: int = 100_000 * _MS
    maximum_attempts: int = 0  #: 0: no limit
    non_retryable_error_types: tuple[str, ...] = ()

    def delay(self, attempt: int, error: PerdureError) -> int | None:
        """Nanoseconds to wait after failed attempt `attempt` (from 1), or None to give up."""
        if error.retryable is False or self._names(error):
            return None
        if self.maximum_attempts and attempt >= self.maximum_attempts:
            return None
        return delay_ns(
            attempt,
            self.initial_interval,
            self.maximum_interval,
            self.backoff_coefficient,
            0.0,
            lambda: 0.0,
        )

    def _names(self, error: PerdureError) -> bool:
        """Whether the error's kind, or the Python exception that it was, is not to be retried."""
        types = self.non_retryable_error_types
        exception = error.message.partition(":")[0] if error.kind == Kind.INTERNAL else error.kind
        return error.kind in types or exception in types


#: The default: one attempt (an attempt lost with its node is not one).
ONCE: Final = RetryPolicy(maximum_attempts=1)


class ActivityOptions(NamedTuple):
    """How an activity runs; durations are nanoseconds, None for no limit."""

    start_to_close: int = DEFAULT_TIMEOUT_NS
    schedule_to_close: int | None = None
    schedule_to_start: int | None = None
    heartbeat: int | None = None
    retry: RetryPolicy = ONCE
    id: str | None = None  #: no two pending activities of a run have the same
    task_queue: str | None = None  #: of the worker whose places it takes; None: its own
    wait_for_cancellation: bool = False  #: a cancelled one ends when its function does

    def left(self, scheduled: int, clock: Callable[[], int]) -> int | None:
        """Nanoseconds from now to schedule_to_close, None without one.

        Args:
            scheduled: by that clock, ns.
        """
        close = self.schedule_to_close
        return None if close is None else scheduled + close - clock()


_ACTIVITY_OPTIONS: Final = (
    "start_to_close_timeout", "schedule_to_close_timeout", "schedule_to_start_timeout",
    "heartbeat_timeout", "retry_policy", "id", "task_queue", "wait_for_cancellation",
)  # fmt: skip


def check_known(options: Mapping[str, Any], prefix: str, known: Sequence[str]) -> None:
    """Refuse options under a prefix, or that behind `temporal.`, that there are none of.

    Raises PerdureError INVALID: a time limit that is silently ignored would be worse.
    """
    for name in options:
        bare = name.removeprefix("temporal.")
        if bare.startswith(prefix) and bare.removeprefix(prefix) not in known:
            near = suggest(bare.removeprefix(prefix), known, "there are {}")
            raise PerdureError(Kind.INVALID, f'unknown option "{name}": {near}')


def option(options: Mapping[str, Any], name: str) -> Any:
    """An option under its own name or with the prefix `temporal.`."""
    value = options.get(name)
    return options.get(f"temporal.{name}") if value is None else value


def retry_policy(raw: Any) -> RetryPolicy:
    """A policy as lua-api.md writes it. Raises PerdureError INVALID."""
    if not isinstance(raw, Mapping):
        raise PerdureError(Kind.INVALID, f"retry_policy must be a table, not {raw!r}")
    known = set(RetryPolicy._fields) | {
        "max_attempts",
        "initial_delay",
        "max_delay",
        "backoff_factor",
    }
    unknown = {str(name) for name in raw} - known
    if unknown:
        names = ", ".join(sorted(RetryPolicy._fields))
        raise PerdureError(
            Kind.INVALID, f'retry_policy has no field "{sorted(unknown)[0]}"; there are {names}'
        )
    default = RetryPolicy()

    def interval(name: str, short: str, otherwise: int) -> int:
        value = duration_ns(raw.get(name, raw.get(short)))
        return otherwise if value is None else value

    def number(name: str, short: str, otherwise: float, least: int) -> float:
        value: Any = raw.get(name, raw.get(short, otherwise))
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        if numeric and least <= value <= LARGEST:
            return float(value)
        text = f"retry_policy.{name} is {value!r}: give a number from {least}"
        raise PerdureError(Kind.INVALID, text)

    types = raw.get("non_retryable_error_types") or ()
    if not isinstance(types, (list, tuple)) or not all(isinstance(each, str) for each in types):
        raise PerdureError(
            Kind.INVALID,
            f"retry_policy.non_retryable_error_types is {types!r}: give a list of error kinds",
        )
    return RetryPolicy(
        interval("initial_interval", "initial_delay", default.initial_interval),
        number("backoff_coefficient", "backoff_factor", 2.0, 1),
        interval("maximum_interval", "max_delay", default.maximum_interval),
        int(number("maximum_attempts", "max_attempts", 0, 0)),
        tuple(types),
    )


def _policy_of(retry: Retry) -> dict[str, Any]:
    """The option `retry` of any call as a policy, with its own defaults."""
    return {
        "initial_interval": retry.initial_delay / _MS,
        "backoff_coefficient": retry.backoff_factor,
        "maximum_interval": retry.max_delay / _MS,
        "maximum_attempts": retry.max_attempts,
    }


def activity_options(
    options: Mapping[str, Any], function_retry: Any, default: RetryPolicy
) -> ActivityOptions:
    """Options of one activity.

    Args:
        options: what the call gave.
        function_retry: `meta.options.retry` of the function's entry, or None.
        default: the worker's policy.

    Raises PerdureError INVALID.
    """
    check_known(options, "activity.", _ACTIVITY_OPTIONS)
    call = CallOptions.read(options)
    raw = option(options, "activity.retry_policy")
    if raw is None and call.retry is not None:
        raw = _policy_of(call.retry)
    if raw is None:
        raw = function_retry
    start_to_close = duration_ns(option(options, "activity.start_to_close_timeout"))
    if start_to_close is None:
        start_to_close = call.timeout
    return ActivityOptions(
        DEFAULT_TIMEOUT_NS if start_to_close is None else start_to_close,
        duration_ns(option(options, "activity.schedule_to_close_timeout")),
        duration_ns(option(options, "activity.schedule_to_start_timeout")),
        duration_ns(option(options, "activity.heartbeat_timeout")),
        default if raw is None else retry_policy(raw),
        text_option(options, "activity.id"),
        text_option(options, "activity.task_queue"),
        bool(option(options, "activity.wait_for_cancellation")),
    )


def text_option(options: Mapping[str, Any], name: str) -> str | None:
    """An option that is a text; None without it. Raises PerdureError INVALID."""
    value = option(options, name)
    if value is None or (isinstance(value, str) and value):
        return value
    raise PerdureError(Kind.INVALID, f"{name} must be a text, not {value!r}")
