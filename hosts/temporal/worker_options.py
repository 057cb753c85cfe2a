"""`worker_options` of a temporal.worker as the arguments of the SDK's Worker."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from runtime.config.scalars import Duration
from runtime.config.temporal_kinds import WORKER_OPTIONS


def arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `temporalio.worker.Worker` for the options that are given."""
    made: dict[str, Any] = {}
    for name, value in options.items():
        if value is not None:
            option = WORKER_OPTIONS[name]
            timed = isinstance(option.type, Duration)
            made[option.argument] = timedelta(microseconds=value / 1000) if timed else value
    return made
