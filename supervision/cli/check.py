"""`perdure check`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from runtime.config.loader import load
from runtime.config.problems import ConfigurationError, Problem
from supervision.check import check as problems_of
from supervision.cli.errors import USAGE
from supervision.cli.options import as_json, data, overrides
from supervision.cli.output import json_line, one_line, report_problems
from supervision.data_folder import data_folder


@click.command()
@click.argument("app", metavar="APP")
@overrides
@data
@as_json
def check(app: str, overrides: tuple[str, ...], data: str | None, as_json: bool) -> None:
    """Check an application without starting anything.

    Every Lua source is compiled, every Python target imported, every path looked at. Nothing is
    written, and a node that runs is not disturbed. Exits with 0, or with 2 when there are problems.
    """
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    entries = 0
    try:
        loaded = load(app, overrides)
        entries, warnings = len(loaded.registry), loaded.warnings
        problems = tuple(problems_of(loaded, data_folder(app, data)))
    except ConfigurationError as error:
        problems = error.problems
    if as_json:
        json_line(
            {
                "ok": not problems,
                "entries": entries,
                "problems": [each._asdict() for each in problems],
                "warnings": [each._asdict() for each in warnings],
            }
        )
    else:
        for warning in warnings:
            click.secho("warning: ", fg="yellow", nl=False, err=True)
            click.echo(one_line(warning), err=True)
        if problems:
            count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            report_problems(problems, f"{count} in {app}")
        else:
            click.echo(f"{Path(app)}: {entries} entries, no problems")
    if problems:
        sys.exit(USAGE)
