"""`perdure journal …`: care of a journal's files."""

from __future__ import annotations

import sys

import click

from journal.errors import JournalError
from journal.verify import verify as findings_of
from supervision.cli.errors import USAGE
from supervision.cli.options import as_json
from supervision.cli.output import json_line

#: Exit code when something is wrong with the journal.
_FOUND = 1


@click.group()
def journal() -> None:
    """Look after a journal."""


@journal.command()
@click.argument("path", metavar="PATH")
@as_json
def verify(path: str, as_json: bool) -> None:
    """Read all of the journal in folder PATH, and check it; a node may be using it.

    Lists every record that is hurt and every row that belongs to nothing. Nothing is changed. Exits
    with 0 when the journal is sound, with 1 when it is not, with 2 when it cannot be read.
    """
    try:
        findings = findings_of(path)
    except JournalError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(USAGE)
    for finding in findings:
        told = {**finding._asdict(), "key": finding.key.hex()}
        if as_json:
            json_line(told)
        else:
            run = f"run {finding.run}: " if finding.run else ""
            click.echo(f"{finding.db} {told['key']}: {run}{finding.problem}")
    if findings:
        sys.exit(_FOUND)
    if not as_json:
        click.echo(f"{path}: sound")
