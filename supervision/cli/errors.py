"""What commands do with errors: a message on stderr and an exit code, never a traceback of ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.config.problems import ConfigurationError
from runtime.errors import PerdureError
from supervision.cli.output import report, report_problems

FAILED, USAGE = 1, 2


@contextmanager
def boot_errors(app: str) -> Iterator[None]:
    """Errors before anything was started end the command with 2."""
    try:
        yield
    except ConfigurationError as error:
        count = len(error.problems)
        found = "1 problem" if count == 1 else f"{count} problems"
        report_problems(error.problems, f"{found} in {app}; nothing was started")
        sys.exit(USAGE)
    except PerdureError as error:
        report(error)
        sys.exit(USAGE)


@contextmanager
def failures() -> Iterator[None]:
    """Errors of a request end the command with 1."""
    try:
        yield
    except PerdureError as error:
        report(error)
        sys.exit(FAILED)
