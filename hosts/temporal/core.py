"""The SDK's core, as the nodes of this process have it, and what the SDK says in the log.

By itself the core writes to standard output, which is that of the command that a node runs.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Final

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

#: Where the SDK logs that a step has failed. Its core says the same again, with less.
_STEPS: Final = "temporalio.worker._workflow_instance"
_AGAIN: Final = "Failing workflow task"


class StepFailed(RuntimeError):
    """Ends a step, which the server has made again; its text says why."""


@cache
def core() -> Runtime:
    """One for all clients and workers of the process: it has threads."""
    told = logging.getLogger("temporalio.core")
    told.addFilter(_is_news)
    logging.getLogger(_STEPS).addFilter(_plain)
    forwarding = LogForwardingConfig(
        told, append_target_to_name=False, prepend_target_on_message=False
    )
    config = LoggingConfig(TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding)
    return Runtime(telemetry=TelemetryConfig(logging=config))


def _is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_AGAIN)


def _plain(record: logging.LogRecord) -> bool:
    """The reason in place of where in the SDK and in us it was raised."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, StepFailed):
        record.msg, record.exc_info = f"{record.msg}: {error}", None
    return True
