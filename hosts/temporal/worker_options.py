"""`worker_options` of a temporal.worker as the arguments of the SDK's Worker."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import WorkerDeploymentConfig

from runtime.config.scalars import Duration
from runtime.config.temporal_kinds import WORKER_OPTIONS
from runtime.lua.machine import MACHINE_VERSION

#: What the server shows as the build of a worker that has no `build_id`. The SDK would hash the
#: code of all modules that are loaded, which is nearly all that a start costs (0.45 s of 0.55).
BUILD: Final = f"perdure, machine {MACHINE_VERSION}"
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
    """The argument for the version of the code; what is of a deployment it takes out of
    `given`."""
    name, versioned = given.get("deployment_name"), given.get("use_versioning", False)
    behavior = given.get("default_versioning_behavior")
    if not name:
        return {"build_id": BUILD}
    how = VersioningBehavior.UNSPECIFIED
    if versioned:
        how = VersioningBehavior[(behavior or "auto_upgrade").upper()]
    version = WorkerDeploymentVersion(name, given.pop("build_id"))
    return {"deployment_config": WorkerDeploymentConfig(version, versioned, how)}
