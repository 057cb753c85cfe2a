"""Options of activities: what the call gave, over what the function's entry says now."""

from __future__ import annotations

from typing import Any

from hosts.activity_options import ActivityOptions, RetryPolicy, activity_options
from hosts.deployed import Deployed
from hosts.durable.execution import Activity
from runtime.codec import decode


class Options:
    """Options of the activities of one shard. Used on its thread.

    Args:
        default_retry: the worker's policy.
    """

    def __init__(self, deployed: Deployed, default_retry: RetryPolicy) -> None:
        self._deployed = deployed
        self._default_retry = default_retry
        #: Of calls that give none, by function, while the registry is this one.
        self._plain: dict[str, ActivityOptions] = {}
        self._plain_of = deployed.registry

    def of(self, activity: Activity) -> ActivityOptions:
        """The options of an activity. Raises PerdureError INVALID."""
        record = activity.record
        target, raw = record[2], record[4]
        if raw is not None:
            options = decode(raw)
            return self._read(options if isinstance(options, dict) else {}, target)
        if self._plain_of is not self._deployed.registry:
            self._plain_of = self._deployed.registry
            self._plain.clear()
        plain = self._plain.get(target)
        if plain is None:
            plain = self._plain[target] = self._read({}, target)
        return plain

    def _read(self, options: dict[str, Any], target: str) -> ActivityOptions:
        return activity_options(options, self._deployed.retry_of(target), self._default_retry)
