"""`perdure registry`: the entries of a live node, its versions, and changes to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from runtime.config.documents import write_value
from supervision.cli.live import live
from supervision.cli.options import as_json
from supervision.cli.output import json_line, listing, local_time
from supervision.control.client import ControlClient


@click.group()
def registry() -> None:
    """Look at the entries of a node and change them while it runs.

    Changes live in memory; `export` writes them as an application.
    """


@registry.command("list")
@click.option("--kind", help="Only those of this kind, such as function.lua.")
@click.option("--namespace", help="Only those of this namespace.")
@live
@as_json
def list_(node: ControlClient, kind: str | None, namespace: str | None, as_json: bool) -> None:
    """List the entries in force."""
    rows = node.call("registry.list", kind=kind, namespace=namespace)
    listing(
        rows,
        as_json,
        {"ID": "id", "KIND": "kind", "FROM": lambda row: _place(row["file"], row["line"])},
    )


def _place(file: str, line: int) -> str:
    return f"{file}:{line}" if line else file


@registry.command()
@click.argument("entry", metavar="ID")
@live
@as_json
def show(node: ControlClient, entry: str, as_json: bool) -> None:
    """Show an entry as YAML."""
    shown = node.call("registry.show", entry=entry)
    if as_json:
        json_line(shown)
    else:
        click.echo(write_value(shown["fields"]), nl=False)


@registry.command()
@live
@as_json
def versions(node: ControlClient, as_json: bool) -> None:
    """List the versions that can be gone back to."""
    listing(
        node.call("registry.versions"),
        as_json,
        {
            "VERSION": "version",
            "MADE FROM": "previous",
            "AT": lambda row: local_time(row["at"]),
            "NOTE": lambda row: "in force" if row["current"] else "",
        },
    )


@registry.command()
@click.argument("paths", metavar="[FILE]...", nargs=-1, type=click.Path(exists=True))
@click.option("--delete", multiple=True, metavar="ID", help="An entry to take out; repeatable.")
@live
@as_json
def apply(
    node: ControlClient, paths: tuple[str, ...], delete: tuple[str, ...], as_json: bool
) -> None:
    """Apply entries of YAML files.

    Each entry of FILE, or of the YAML files in it if it is a folder, is created, or updated where
    its id is there. All is applied or nothing; what starts from then on runs the new code.
    """
    if not paths and not delete:
        raise click.UsageError("nothing to apply: name a FILE, or an entry with --delete")
    absolute = [str(Path(path).resolve()) for path in paths]
    applied = node.call("registry.apply", paths=absolute, delete=list(delete))
    if as_json:
        json_line(applied)
        return
    for warning in applied["warnings"]:
        click.secho("warning: ", fg="yellow", nl=False, err=True)
        click.echo(warning, err=True)
    for each in applied["changes"]:
        click.echo(f"{each['verb']}d {each['id']}")
    _in_force(applied)


@registry.command()
@click.argument("version", metavar="VERSION", type=int)
@live
@as_json
def rollback(node: ControlClient, version: int, as_json: bool) -> None:
    """Put a version in force again."""
    row = node.call("registry.rollback", version=version)
    if as_json:
        json_line(row)
    else:
        _in_force(row)


def _in_force(row: dict[str, Any]) -> None:
    click.echo(f"version {row['version']} is in force")


@registry.command()
@click.option("--out", metavar="DIR", help="A folder for the files; it is made, or empty.")
@live
@as_json
def export(node: ControlClient, out: str | None, as_json: bool) -> None:
    """Write the entries in force as an application.

    Prints the files, or writes them to DIR, from which the same application boots. The modules of
    Python functions are not among them: copy those of the application's folder.
    """
    texts: dict[str, str] = node.call("registry.export")
    if out is not None:
        folder = Path(out)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise click.UsageError(f"{out} is there and not an empty folder: name another one")
        for path, text in texts.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode())
    if as_json:
        json_line({"files": sorted(texts)} if out else texts)
    elif out:
        click.echo(f"wrote {len(texts)} files to {out}")
    else:
        for path, text in texts.items():
            click.secho(f"# {path}", bold=True)
            click.echo(text.rstrip("\n"))
