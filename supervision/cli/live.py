"""Commands that speak to a live node."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from supervision.cli.errors import FAILED, failures
from supervision.cli.options import JsonValue, as_json
from supervision.cli.output import json_line, listing, local_time
from supervision.control.client import ControlClient, NoNodeError
from supervision.data_folder import SOCKET_NAME, data_folder


def live(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options to find the node by; the command gets `node`, a ControlClient."""

    @click.option(
        "--app", default=".", metavar="APP", help="The application's folder [default: .]."
    )
    @click.option(
        "--data", metavar="DIR", help="The node's data folder [default: .perdure in APP]."
    )
    @functools.wraps(command)
    def with_node(app: str, data: str | None, **params: Any) -> None:
        with failures(), _connected(app, data) as node:
            command(node, **params)

    return with_node


@contextmanager
def _connected(app: str, data: str | None) -> Iterator[ControlClient]:
    path = data_folder(app, data) / SOCKET_NAME
    try:
        client = ControlClient(path)
    except NoNodeError as error:
        gone = " (it has ended without removing its socket)" if error.gone else ""
        start = f"perdure run {app}" + (f" --data {data}" if data else "")
        click.secho("error: ", fg="red", nl=False, err=True)
        click.echo(
            f"no node runs there: looked for its control socket at {path}{gone}\n"
            f"  start one with: {start}\n"
            "  or name the application's folder with --app, or a node's data folder with --data",
            err=True,
        )
        sys.exit(FAILED)
    with client:
        yield client


def done(text: str, as_json: bool) -> None:
    """What a command that gives nothing says when it is done."""
    if as_json:
        json_line({"ok": True})
    else:
        click.echo(text)


@click.command()
@live
@as_json
def ps(node: ControlClient, as_json: bool) -> None:
    """List the processes."""
    rows = node.call("processes")
    listing(
        rows,
        as_json,
        {
            "PID": "pid",
            "ENTRY": "entry",
            "NAMES": lambda row: ", ".join(row["names"]),
            "WAITING": "waiting",
            "PARENT": "parent",
        },
    )
    count = 0 if as_json else node.call("dead_letters")["count"]
    if count:
        click.echo(
            f"{count} messages found nobody: perdure dead-letters shows the latest", err=True
        )


@click.command("dead-letters")
@live
@as_json
def dead_letters(node: ControlClient, as_json: bool) -> None:
    """List the latest messages that found nobody."""
    found = node.call("dead_letters")
    listing(
        found["latest"],
        as_json,
        {
            "AT": lambda row: local_time(row["at"]),
            "TO": "to",
            "TOPIC": "topic",
            "FROM": lambda row: row["from"] or "outside",
        },
    )
    if not as_json and found["count"] > len(found["latest"]):
        click.echo(f"{found['count']} in all since the node was started", err=True)


@click.command()
@click.option("--prometheus", is_flag=True, help="Print Prometheus's text format.")
@live
@as_json
def metrics(node: ControlClient, prometheus: bool, as_json: bool) -> None:
    """Show what is counted and measured."""
    if prometheus:
        click.echo(node.call("metrics.text"), nl=False)
        return
    listing(
        node.call("metrics"),
        as_json,
        {
            "METRIC": "name",
            "KIND": "kind",
            "LABELS": lambda row: _labels(row["labels"]),
            "VALUE": lambda row: f"{row['value']:g}",
        },
    )


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items())


@click.command()
@click.argument("entry", metavar="ENTRY")
@click.argument("host", metavar="HOST")
@click.argument("args", metavar="[JSON]...", nargs=-1, type=JsonValue())
@live
@as_json
def spawn(node: ControlClient, entry: str, host: str, args: tuple[Any, ...], as_json: bool) -> None:
    """Start a process.

    Starts ENTRY on HOST with arguments in JSON, and prints its PID.
    """
    spawned = node.call("spawn", entry=entry, host=host, args=list(args))
    if as_json:
        json_line(spawned)
    else:
        click.echo(spawned["pid"])


@click.command()
@click.argument("to", metavar="PID_OR_NAME")
@click.argument("topic", metavar="TOPIC")
@click.argument("payload", metavar="[JSON]...", nargs=-1, type=JsonValue())
@click.option("--key", help="Idempotency key: a workflow takes the message once for it.")
@live
@as_json
def send(
    node: ControlClient,
    to: str,
    topic: str,
    payload: tuple[Any, ...],
    key: str | None,
    as_json: bool,
) -> None:
    """Send a message.

    To a process or workflow, with payloads in JSON. One to a workflow is on disk when this is done.
    """
    node.call("send", to=to, topic=topic, payload=list(payload), key=key)
    done("sent", as_json)


@click.command()
@click.argument("target", metavar="PID_OR_NAME")
@click.option("--reason", default="", help="What the process sees in its CANCEL event.")
@live
@as_json
def cancel(node: ControlClient, target: str, reason: str, as_json: bool) -> None:
    """Ask a process or workflow to end.

    It gets a CANCEL event, and may do as it likes.
    """
    node.call("cancel", target=target, reason=reason)
    done("asked to end", as_json)


@click.command()
@click.argument("target", metavar="PID_OR_NAME")
@live
@as_json
def terminate(node: ControlClient, target: str, as_json: bool) -> None:
    """End a process or workflow at once."""
    node.call("terminate", target=target)
    done("terminated", as_json)
