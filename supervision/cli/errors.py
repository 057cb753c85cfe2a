"""What commands do with errors: a message on stderr and an exit code, never a traceback of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from runtime.config.problems import ConfigurationError, Problem
from runtime.errors import PerdureError

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


def report(error: PerdureError) -> None:
    """An error on stderr, with the traceback of where it was raised."""
    click.secho("error: ", fg="red", nl=False, err=True)
    click.echo(str(error), err=True)
    if error.trace:
        click.echo(_indented(error.trace.rstrip()), err=True)


def report_problems(problems: Sequence[Problem], headline: str) -> None:
    """All problems of a configuration on stderr."""
    click.secho("error: ", fg="red", nl=False, err=True)
    click.echo(headline, err=True)
    for problem in problems:
        click.echo(err=True)
        click.secho(_place(problem), bold=True, err=True)
        click.echo(_indented(problem.message), err=True)
        if problem.hint:
            click.secho(_indented(problem.hint), fg="cyan", err=True)


def one_line(problem: Problem) -> str:
    """A problem for a log or a list."""
    return str(problem._replace(file=_short(problem.file)))


def _place(problem: Problem) -> str:
    file = _short(problem.file)
    place = f"{file}:{problem.line}" if problem.line else file
    return f"{place}: {problem.entry}" if problem.entry else place


def _short(file: str) -> str:
    """A path as seen from here, where that is shorter."""
    if not Path(file).is_absolute():
        return file
    return min(os.path.relpath(file), file, key=len)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
