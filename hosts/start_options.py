"""Options of a workflow's start, read from what the user wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from hosts import cron
from hosts.activity_options import RetryPolicy, check_known, option, retry_policy, text_option
from hosts.attributes import extra_with
from hosts.call_options import duration_ns
from runtime.errors import Kind, PerdureError

_OPTIONS: Final = (
    "id", "id_conflict_policy", "id_reuse_policy", "execution_error_when_already_started",
    "execution_timeout", "run_timeout", "task_timeout", "retry_policy", "cron_schedule",
    "start_delay", "parent_close_policy", "memo", "search_attributes", "task_queue",
)  # fmt: skip

_CONFLICT: Final = ("use_existing", "fail", "terminate_existing")
_REUSE: Final = ("allow_duplicate", "allow_duplicate_failed_only", "reject_duplicate")
_CLOSE: Final = ("terminate", "abandon", "request_cancel")


class Rules(NamedTuple):
    """How the runs of a workflow id that go on for one another are timed and repeated; ns."""

    run_timeout: int | None = None  #: of each run, from when it begins
    task_timeout: int | None = None  #: of each step
    execution_deadline: int | None = None  #: of all runs, on the wall clock
    retry: RetryPolicy | None = None  #: of runs that fail
    cron: str | None = None  #: when a run follows on one that ended

    def deadline(self, begins: int) -> int | None:
        """When a run that begins at `begins`, on the wall clock, is to be over."""
        limits = (
            None if self.run_timeout is None else begins + self.run_timeout,
            self.execution_deadline,
        )
        return min((each for each in limits if each is not None), default=None)

    def written(self) -> dict[str, Any]:
        """What of it the history keeps: plain values, and only those that are set."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    @classmethod
    def of(cls, started: Mapping[str, Any]) -> Rules:
        """The rules in a `started` record."""
        written = started.get("rules")
        if not written:
            return NO_RULES
        retry = written.get("retry")
        return cls(**{**written, "retry": None if retry is None else _policy(*retry)})


def _policy(initial: int, factor: float, maximum: int, attempts: int, types: Any) -> RetryPolicy:
    return RetryPolicy(initial, factor, maximum, attempts, tuple(types))


NO_RULES: Final = Rules()


class StartOptions(NamedTuple):
    """How a workflow starts; durations are nanoseconds, None for no limit."""

    workflow_id: str | None
    conflict: str  #: use_existing, fail or terminate_existing
    reuse: str  #: allow_duplicate, allow_duplicate_failed_only or reject_duplicate
    error_when_started: bool
    rules: Rules  #: without the deadline, which depends on when it is
    execution_timeout: int | None
    start_delay: int
    task_queue: str | None  #: of the worker that runs it; None: the host that was asked
    extra: dict[str, Any] | None  #: memo and search attributes, as a run's row keeps them


def start_options(settings: Mapping[str, Any]) -> StartOptions:
    """Spawn options, by `workflow.*` or `temporal.workflow.*`. Raises PerdureError INVALID."""
    return _read(settings) if settings else _NONE


def _read(settings: Mapping[str, Any]) -> StartOptions:
    check_known(settings, "workflow.", _OPTIONS)
    policy = option(settings, "workflow.retry_policy")
    schedule = text_option(settings, "workflow.cron_schedule")
    delay = duration_ns(option(settings, "workflow.start_delay")) or 0
    if schedule is not None:
        cron.check(schedule)
        if delay:
            raise PerdureError(
                Kind.INVALID, "workflow.start_delay and workflow.cron_schedule exclude each other"
            )
    close_policy(settings)
    return StartOptions(
        text_option(settings, "workflow.id"),
        _choice(settings, "workflow.id_conflict_policy", _CONFLICT),
        _choice(settings, "workflow.id_reuse_policy", _REUSE),
        bool(option(settings, "workflow.execution_error_when_already_started")),
        Rules(
            duration_ns(option(settings, "workflow.run_timeout")),
            duration_ns(option(settings, "workflow.task_timeout")),
            None,
            None if policy is None else retry_policy(policy),
            schedule,
        ),
        duration_ns(option(settings, "workflow.execution_timeout")),
        delay,
        text_option(settings, "workflow.task_queue"),
        extra_with(
            None,
            option(settings, "workflow.search_attributes"),
            option(settings, "workflow.memo"),
        ),
    )


def close_policy(settings: Mapping[str, Any]) -> str:
    """What becomes of a child when its parent ends; raises PerdureError INVALID."""
    return _choice(settings, "workflow.parent_close_policy", _CLOSE)


def _choice(settings: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    """An option that is one of some; the first of them when it is not given."""
    value = option(settings, name)
    if value is None:
        return known[0]
    if value not in known:
        raise PerdureError(Kind.INVALID, f'{name} "{value}" is none of {", ".join(known)}')
    return str(value)


_NONE: Final = _read({})
