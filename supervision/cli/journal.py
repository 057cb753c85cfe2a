"""`perdure journal …`: care of a journal's files."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hosts.durable import importing, readable
from hosts.durable.moments import moments
from journal import upkeep
from journal.errors import JournalError
from journal.journal import Journal
from journal.verify import verify as findings_of
from runtime.clock import timestamp
from runtime.config.loader import load
from runtime.config.problems import ConfigurationError
from runtime.errors import Kind, PerdureError
from supervision.cli.errors import FAILED, USAGE, report, report_problems
from supervision.cli.options import as_json
from supervision.cli.output import facts, json_line, local_time, table
from supervision.control.timeline import timeline
from supervision.trial import reading

#: Exit code when something is wrong with the journal.
_FOUND = 1


def located(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options to find the journal by; the command gets `path`. Its errors end it with 1 or 2."""

    @click.option("--journal", metavar="PATH", help="The journal's folder.")
    @click.option(
        "--app", default=".", metavar="APP", help="Or the application that has it [default: .]."
    )
    @functools.wraps(command)
    def with_path(journal: str | None, app: str, **params: Any) -> None:
        given = params.pop("path", None) or journal
        try:
            command(given or _journal_of(app), **params)
        except JournalError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(USAGE)
        except ConfigurationError as error:
            report_problems(error.problems, f"which journal? {app} cannot be read")
            sys.exit(USAGE)
        except PerdureError as error:
            report(error)
            sys.exit(FAILED)

    return with_path


def _journal_of(app: str) -> str:
    found = load(app).registry.of_kind("journal.lmdb")
    if len(found) != 1:
        paths = ", ".join(entry.data["path"] for entry in found) or "none"
        raise click.UsageError(f"{app} has {len(found)} journals ({paths}): say --journal PATH")
    return str(found[0].data["path"])


@click.group()
def journal() -> None:
    """Look after a journal.

    It is the one in the folder --journal, or the only one of the application in the current
    folder, or of --app.
    """


@journal.command()
@click.argument("path", metavar="[PATH]", required=False)
@located
@as_json
def verify(path: str, as_json: bool) -> None:
    """Read all of a journal, and check it; a node may be using it.

    Lists every record that is hurt and every row that belongs to nothing. Nothing is changed. Exits
    with 0 when the journal is sound, with 1 when it is not, with 2 when it cannot be read.
    """
    findings = findings_of(path)
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


@journal.command()
@click.argument("destination", metavar="DEST")
@located
@as_json
def backup(path: str, destination: str, as_json: bool) -> None:
    """Copy a journal into the new folder DEST; a node may be using it.

    The copy is one consistent state, and compact. To restore it, let the journal's path be it.
    """
    size = upkeep.backup(path, destination)
    if as_json:
        json_line({"path": destination, "bytes": size})
    else:
        click.echo(f"{destination}: {_size(size)}")


@journal.command()
@located
@as_json
def compact(path: str, as_json: bool) -> None:
    """Give space that a journal no longer uses back to the disk; no node may be using it."""
    before, after = upkeep.compact(path)
    if as_json:
        json_line({"before": before, "after": after})
    else:
        click.echo(f"{path}: {_size(before)}, now {_size(after)}")


@journal.command()
@located
@as_json
def stats(path: str, as_json: bool) -> None:
    """Show what is in a journal; a node may be using it."""
    found = upkeep.stats(path)
    if as_json:
        json_line(found)
        return
    facts(
        {
            "path": found["path"],
            "journal id": found["journal_id"],
            "created": local_time(timestamp(found["created_ns"])),
            "size": f"{_size(found['bytes'])}, {_size(found['free_bytes'])} of it free",
            "large payloads": _size(found["payload_bytes"]),
            "runs": ", ".join(f"{count} {name}" for name, count in sorted(found["runs"].items())),
        }
    )
    click.echo()
    rows = found["databases"].items()
    table(
        ("DATABASE", "ROWS", "SIZE"),
        ((name, each["rows"], _size(each["bytes"])) for name, each in rows),
    )


@journal.command()
@click.argument("run", metavar="RUN")
@click.option("-o", "--output", metavar="FILE", help="Where to write it [default: stdout].")
@located
def export(path: str, run: str, output: str | None) -> None:
    """Write the history of a run as JSON; a node may be using the journal.

    RUN is a workflow id, whose last run is meant, or a run id, or the number of a run. The file
    has the code that the run is pinned to, and can be replayed by `perdure replay`; with an open
    run go the children that it waits for.
    """
    with reading(path) as store:
        found = upkeep.find_run(store, run)
        if found is None:
            raise PerdureError(Kind.NOT_FOUND, f"{path} has no run {run}")
        document = readable.exported(
            store, *found,
            lambda history, row: timeline(moments(history, row.started_ns, row.ended_ns)),
        )  # fmt: skip
    text = json.dumps(document, ensure_ascii=False, indent=1)
    if output is None:
        click.echo(text)
    else:
        Path(output).write_text(text + "\n", encoding="utf-8")
        told = f"{len(document['history'])} records{_with(_children(document))}"
        click.echo(f"{output}: {found[1].workflow_id}, {told}")


@journal.command("import")
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@located
@as_json
def import_(path: str, file: str, as_json: bool) -> None:
    """Bring a run that was exported to FILE into a journal; no node may be using it.

    An open run goes on there when a node opens the journal, with its children: end it where it
    comes from, or it is there twice.
    """
    imported = read_export(file)
    with Journal.open(path) as opened:
        number, unit = importing.unit_of(opened, imported)
        opened.commit(unit)
    row, children = imported.row, sum(1 for _ in imported.family()) - 1
    if as_json:
        told = {"number": number, "workflow_id": row.workflow_id, "status": row.status}
        json_line({**told, "children": children})
    else:
        click.echo(f"{row.workflow_id} ({row.status}) is run {number}{_with(children)}")


def read_export(file: str) -> readable.Imported:
    """What was exported to a file. Raises PerdureError INVALID."""
    try:
        document = json.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise PerdureError(Kind.INVALID, f"{file} is not JSON: {error}") from error
    return readable.Imported(document)


def _children(document: dict[str, Any]) -> int:
    """How many runs are below the one of an export."""
    return sum(1 + _children(each) for each in document["children"])


def _with(children: int) -> str:
    return f", with {children} below it" if children else ""


def _size(count: int) -> str:
    """Bytes for a person."""
    size = float(count)
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
