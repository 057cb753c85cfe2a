"""Options that workflow code gives to activities and workflows, read from what the user wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from hosts.call_options import duration_ns
from runtime.config.problems import suggest
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
        if error.retryable is False or error.kind in self.non_retryable_error_types:
            return None
        if self.maximum_attempts and attempt >= self.maximum_attempts:
            return None
        factor = self.backoff_coefficient ** (attempt - 1)
        return int(min(self.initial_interval * factor, self.maximum_interval))


#: The default: one attempt (an attempt lost with its node is not one).
ONCE: Final = RetryPolicy(maximum_attempts=1)


class ActivityOptions(NamedTuple):
    """How an activity runs; durations are nanoseconds, None for no limit."""

    start_to_close: int = DEFAULT_TIMEOUT_NS
    schedule_to_close: int | None = None
    retry: RetryPolicy = ONCE


#: Options by name, and whether they are acted on. One that is not is refused: a time limit or a
#: schedule that is silently ignored would be worse than an error.
_START_OPTIONS: Final = {
    "id": True, "id_conflict_policy": True, "id_reuse_policy": True,
    "execution_error_when_already_started": True, "execution_timeout": False,
    "run_timeout": False, "task_timeout": False, "retry_policy": False, "cron_schedule": False,
    "start_delay": False, "parent_close_policy": False, "memo": False,
    "search_attributes": False, "task_queue": False,
}  # fmt: skip
_ACTIVITY_OPTIONS: Final = {
    "start_to_close_timeout": True, "schedule_to_close_timeout": True, "retry_policy": True,
    "schedule_to_start_timeout": False, "heartbeat_timeout": False, "id": False,
    "task_queue": False, "wait_for_cancellation": False,
}  # fmt: skip


def _check_known(options: Mapping[str, Any], prefix: str, known: Mapping[str, bool]) -> None:
    for name in options:
        bare = name.removeprefix("temporal.")
        if bare.startswith(prefix):
            acted_on = known.get(bare.removeprefix(prefix))
            if acted_on is None:
                near = suggest(bare.removeprefix(prefix), known, "there are {}")
                raise PerdureError(Kind.INVALID, f'unknown option "{name}": {near}')
            if not acted_on:
                raise PerdureError(Kind.INVALID, f'option "{name}" is not supported yet')


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
    unknown = set(raw) - known
    if unknown:
        names = ", ".join(sorted(RetryPolicy._fields))
        raise PerdureError(
            Kind.INVALID, f'retry_policy has no field "{sorted(unknown)[0]}"; there are {names}'
        )
    default = RetryPolicy()

    def interval(name: str, short: str, otherwise: int) -> int:
        value = duration_ns(raw.get(name, raw.get(short)))
        return otherwise if value is None else value

    return RetryPolicy(
        interval("initial_interval", "initial_delay", default.initial_interval),
        float(raw.get("backoff_coefficient", raw.get("backoff_factor", 2.0))),
        interval("maximum_interval", "max_delay", default.maximum_interval),
        int(raw.get("maximum_attempts", raw.get("max_attempts", 0))),
        tuple(raw.get("non_retryable_error_types") or ()),
    )


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
    _check_known(options, "activity.", _ACTIVITY_OPTIONS)
    raw = option(options, "activity.retry_policy") or options.get("retry") or function_retry
    timeout = option(options, "activity.start_to_close_timeout")
    if timeout is None:
        timeout = options.get("timeout")
    start_to_close = duration_ns(timeout)
    return ActivityOptions(
        DEFAULT_TIMEOUT_NS if start_to_close is None else start_to_close,
        duration_ns(option(options, "activity.schedule_to_close_timeout")),
        default if raw is None else retry_policy(raw),
    )


class StartOptions(NamedTuple):
    """How a workflow starts."""

    workflow_id: str | None
    conflict: str  #: use_existing, fail or terminate_existing
    reuse: str  #: allow_duplicate, allow_duplicate_failed_only or reject_duplicate
    error_when_started: bool


_CONFLICT = ("use_existing", "fail", "terminate_existing")
_REUSE = ("allow_duplicate", "allow_duplicate_failed_only", "reject_duplicate")


def start_options(settings: Mapping[str, Any]) -> StartOptions:
    """Spawn options, by `workflow.*` or `temporal.workflow.*`. Raises PerdureError INVALID."""
    _check_known(settings, "workflow.", _START_OPTIONS)
    conflict = option(settings, "workflow.id_conflict_policy") or "use_existing"
    reuse = option(settings, "workflow.id_reuse_policy") or "allow_duplicate"
    for name, value, known in (
        ("id_conflict_policy", conflict, _CONFLICT),
        ("id_reuse_policy", reuse, _REUSE),
    ):
        if value not in known:
            raise PerdureError(
                Kind.INVALID, f'workflow.{name} "{value}" is none of {", ".join(known)}'
            )
    workflow_id = option(settings, "workflow.id")
    if workflow_id is not None and not isinstance(workflow_id, str):
        raise PerdureError(Kind.INVALID, f"workflow.id must be a text, not {workflow_id!r}")
    return StartOptions(
        workflow_id,
        conflict,
        reuse,
        bool(option(settings, "workflow.execution_error_when_already_started")),
    )
