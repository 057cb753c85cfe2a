"""`perdure services`: the supervision tree of a live node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from supervision.cli.live import live
from supervision.cli.options import as_json
from supervision.cli.output import duration, json_line, table
from supervision.control.client import ControlClient

Row = Mapping[str, Any]


@click.group(invoke_without_command=True)
@click.option("--app", metavar="APP", help="The application's folder [default: .].")
@click.option("--data", metavar="DIR", help="The node's data folder [default: .perdure in APP].")
@as_json
@click.pass_context
def services(context: click.Context, app: str | None, data: str | None, as_json: bool) -> None:
    """List the services and how they are; start, stop and restart them.

    Each supervisor stands above its children, which are in the order of their starts.
    """
    if context.invoked_subcommand is None:
        context.invoke(_list, app=app or ".", data=data, as_json=as_json)
    elif app or data or as_json:
        name = context.invoked_subcommand
        raise click.UsageError(f"write the options behind the command: perdure services {name} …")


@click.command()
@live
@as_json
def _list(node: ControlClient, as_json: bool) -> None:
    _print(node.call("services"), as_json)


@services.command()
@click.argument("service", metavar="ID")
@live
@as_json
def start(node: ControlClient, service: str, as_json: bool) -> None:
    """Start a service, and what it requires.

    One that has failed is tried at once.
    """
    _print([node.call("services.start", service=service)], as_json)


@services.command()
@click.argument("service", metavar="ID")
@live
@as_json
def stop(node: ControlClient, service: str, as_json: bool) -> None:
    """Stop a service, after what requires it.

    It stays down until it is started again.
    """
    _print([node.call("services.stop", service=service)], as_json)


@services.command()
@click.argument("service", metavar="ID")
@live
@as_json
def restart(node: ControlClient, service: str, as_json: bool) -> None:
    """Stop a service, after what requires it, and start them again."""
    _print([node.call("services.restart", service=service)], as_json)


def _print(rows: Sequence[Row], as_json: bool) -> None:
    if as_json:
        for row in rows:
            json_line(row)
        return
    table(
        ("ID", "KIND", "STATE", "UPTIME", "RESTARTS", "NEXT ATTEMPT", "NOTE"),
        (
            (
                branch + row["id"],
                row["kind"],
                row["state"],
                duration(row["uptime"]),
                row["restarts"],
                "" if row["next_attempt"] is None else f"in {duration(row['next_attempt'])}",
                _note(row),
            )
            for row, branch in _drawn(rows)
        ),
    )


def _drawn(rows: Sequence[Row]) -> Iterator[tuple[Row, str]]:
    """Rows, each with the branches of the tree to its left."""
    last = {row["supervisor"]: row["id"] for row in rows}
    left: dict[str, str] = {}  # of the children of a supervisor
    for row in rows:
        service, supervisor = row["id"], row["supervisor"]
        if supervisor not in left:
            left[service] = ""
            yield row, ""
            continue
        ends = last[supervisor] == service
        yield row, left[supervisor] + ("└─ " if ends else "├─ ")
        left[service] = left[supervisor] + ("   " if ends else "│  ")


def _note(row: Row) -> str:
    notes = []
    if row["error"]:
        notes.append(f"{row['error']['kind']}: {row['error']['message']}")
    if row["waiting_for"]:
        notes.append(f"waits for {', '.join(row['waiting_for'])}")
    if row["exit_reason"]:
        notes.append(row["exit_reason"])
    if row["hung"]:
        notes.append("still at work on a thread")
    return "; ".join(notes)
