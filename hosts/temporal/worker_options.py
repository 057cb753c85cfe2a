"""`worker_options` of a temporal.worker as the arguments of the SDK's Worker."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import WorkerDeploymentConfig

from runtime.config.scalars import Duration
from runtime.config.temporal_kinds import WORKER_OPTIONS

_OF_DEPLOYMENT: Final = ("deployment_name", "use_versioning", "default_versioning_behavior")


def arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `temporalio.worker.Worker` for the options that are given, of which none lacks
    another (`runtime.config.temporal_kinds.lacking`)."""
    given = {name: value for name, value in options.items() if value is not None}
    made = _deployment(given)
    for name in given.keys() - set(_OF_DEPLOYMENT):
        option, value = WORKER_OPTIONS[name], given[name]
        timed = isinstance(option.type, Duration)
        made[option.argument] = timedelta(microseconds=value / 1000) if timed else value
    return made


def _deployment(given: dict[str, Any]) -> dict[str, Any]:
    """The argument for the version of a deployment, whose options it takes out of `given`."""
    name, versioned = given.get("deployment_name"), given.get("use_versioning", False)
    behavior = given.get("default_versioning_behavior")
    if not name:
        return {}
    how = VersioningBehavior.UNSPECIFIED
    if versioned:
        how = VersioningBehavior[(behavior or "auto_upgrade").upper()]
    version = WorkerDeploymentVersion(name, given.pop("build_id"))
    return {"deployment_config": WorkerDeploymentConfig(version, versioned, how)}
