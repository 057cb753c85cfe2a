"""`perdure replay`: an exported history as a regression test of an application's code."""

from __future__ import annotations

import sys

import click

from runtime.config.loader import load
from runtime.config.problems import ConfigurationError
from runtime.errors import PerdureError
from supervision.cli.errors import FAILED, USAGE, report, report_problems
from supervision.cli.journal import read_export
from supervision.cli.options import as_json, overrides
from supervision.cli.output import facts, json_line
from supervision.trial import new_trial


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@click.argument("app", metavar="APP")
@overrides
@as_json
def replay(file: str, app: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Replay the history in FILE, of `perdure journal export`, on the code of APP.

    Nothing is called, sent or written. Exits with 0 when the code does what the history has, with
    1 when it does not, and shows where; with 2 when FILE or APP cannot be read.
    """
    try:
        imported = read_export(file)
        registry = load(app, overrides).registry
    except ConfigurationError as error:
        report_problems(error.problems, f"{app} cannot be read")
        sys.exit(USAGE)
    except PerdureError as error:
        report(error)
        sys.exit(USAGE)
    verdict = new_trial(registry).run(imported.row, lambda: imported.records)
    told = {"workflow_id": imported.row.workflow_id, "entry": imported.row.entry}
    fits = not verdict.problem
    if as_json:
        json_line({**told, "records": len(imported.records), "fits": fits, **verdict._asdict()})
    elif fits:
        click.echo(
            f"{imported.row.workflow_id}: {len(imported.records)} records, as {imported.row.entry} "
            "does it now"
        )
    else:
        click.secho("error: ", fg="red", nl=False, err=True)
        click.echo(f"{imported.row.workflow_id}: {verdict.problem}", err=True)
        facts(
            {
                "recorded": verdict.recorded,
                "attempted": verdict.attempted,
                "line": verdict.source,
            }
        )
    if not fits:
        sys.exit(FAILED)
