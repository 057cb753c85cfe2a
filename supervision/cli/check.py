"""`perdure check`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from journal.errors import JournalError
from runtime.config.loader import load
from runtime.config.problems import ConfigurationError, Problem
from supervision.check import check as problems_of
from supervision.cli.errors import FAILED, USAGE, one_line, report_problems
from supervision.cli.options import as_json, data, overrides
from supervision.cli.output import json_line, table
from supervision.data_folder import data_folder
from supervision.trial import Tried, reading, trials


@click.command()
@click.argument("app", metavar="APP")
@overrides
@data
@click.option(
    "--journal",
    metavar="PATH",
    help="Replay every open run of the journal in this folder on the application's code.",
)
@as_json
def check(
    app: str, overrides: tuple[str, ...], data: str | None, journal: str | None, as_json: bool
) -> None:
    """Check an application without starting anything.

    Every Lua source is compiled, every Python target imported, every path looked at. Nothing is
    written, and a node that runs is not disturbed. Exits with 0, or with 2 when there are problems.

    With --journal every open run is replayed on this code, also those that are pinned to the code
    they began with; listed are those that differ from their history, and where, and those that
    call what is not there any more. Exits with 1 when there are such runs.
    """
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    tried: list[Tried] = []
    entries = 0
    try:
        loaded = load(app, overrides)
        entries, warnings = len(loaded.registry), loaded.warnings
        problems = tuple(problems_of(loaded, data_folder(app, data)))
        if journal is not None and not problems:
            with reading(journal) as store:
                tried = list(trials(loaded.registry, store))
    except ConfigurationError as error:
        problems = error.problems
    except JournalError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(USAGE)
    if as_json:
        json_line(
            {
                "ok": not problems and all(each.verdict.fits for each in tried),
                "entries": entries,
                "problems": [each._asdict() for each in problems],
                "warnings": [each._asdict() for each in warnings],
                **({"runs": [each.plain() for each in tried]} if journal is not None else {}),
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
        if journal is not None and not problems:
            _report(journal, tried)
    if problems:
        sys.exit(USAGE)
    if not all(each.verdict.fits for each in tried):
        sys.exit(FAILED)


def _report(journal: str, tried: list[Tried]) -> None:
    found = [each for each in tried if not each.verdict.fits]
    click.echo(f"{journal}: {len(tried)} open runs, {len(tried) - len(found)} fit this code")
    if not found:
        return
    click.echo()
    table(
        ("WORKFLOW ID", "ENTRY", "VERSIONING", "WHAT IS WRONG", "THE RUN"),
        (
            (each.row.workflow_id, each.row.entry, each.versioning, _wrong(each), each.effect())
            for each in found
        ),
    )


def _wrong(tried: Tried) -> str:
    verdict = tried.verdict
    texts = [verdict.problem] if verdict.problem else []
    if verdict.pending:
        texts.append(f"waits for {', '.join(verdict.pending)}: not there any more")
    if called := [each for each in verdict.called if each not in verdict.pending]:
        texts.append(f"has called {', '.join(called)}: not there any more")
    return "; ".join(texts)
