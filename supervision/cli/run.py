"""`perdure run`: a node in the foreground, or one of its programs."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from runtime.config.loader import load
from runtime.config.registry import Entry, Registry
from supervision.cli.arguments import RunCommand
from supervision.cli.errors import boot_errors
from supervision.cli.foreground import Foreground
from supervision.cli.logs import LEVELS, log_to_stderr
from supervision.cli.options import data, overrides
from supervision.cli.temporal_dev import dev_server, on_server
from supervision.data_folder import data_folder
from supervision.node import Node
from supervision.terminal import program, program_named, with_terminal


@click.command(cls=RunCommand, options_metavar="[OPTIONS]")
@click.argument("app", metavar="APP")
@click.argument("args", metavar="[COMMAND] [ARGS]...", nargs=-1, type=click.UNPROCESSED)
@overrides
@data
@click.option(
    "--temporal-dev",
    is_flag=True,
    help="Start a Temporal dev server, and run the temporal.workers on it.",
)
@click.option("--exec", "entry_id", metavar="ID", help="Run this process entry as the command.")
@click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    help="What to log on stderr [default: info; warning with a command].",
)
def run(
    app: str,
    args: tuple[str, ...],
    overrides: tuple[str, ...],
    data: str | None,
    temporal_dev: bool,
    entry_id: str | None,
    log_level: str | None,
) -> None:
    """Run an application, or one of its commands.

    Boots the application in the folder APP and runs it until SIGINT or SIGTERM; its services stop
    in order then, and a second signal stops the node at once.

    With a COMMAND, the process entry whose meta.command.name it is runs on the terminal, and the
    node stops when it ends. Its result is the exit code: a number is itself, true and nil are 0,
    false and errors 1. What follows COMMAND, or the ID of --exec, is its own: options of perdure
    come before it.
    """
    with ExitStack() as around:
        with boot_errors(app):
            loaded = load(app, overrides)
            if temporal_dev:
                server = around.enter_context(dev_server(_state(app, data)))
                loaded = load(app, [*overrides, *on_server(loaded, server.address)])
            entry = _program(loaded.registry, args, entry_id)
            host = ""
            if entry is not None:
                loaded, host = with_terminal(loaded)
            log_to_stderr(log_level or ("info" if entry is None else "warning"))
            foreground = Foreground()
            node = Node(
                loaded,
                Path(app).resolve(),
                Path(data) if data else None,
                terminal=foreground.streams,
            )
        if entry is None:
            code = foreground.run(node)
        else:
            own = list(args if entry_id else args[1:])
            code = foreground.run_program(node, entry.id, host, own)
    _leave(code, foreground)


def _state(app: str, data: str | None) -> Path:
    """Where the dev server keeps its state: with that of the node."""
    folder = data_folder(Path(app).resolve(), Path(data) if data else None)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "temporal.sqlite"


def _program(registry: Registry, args: tuple[str, ...], entry_id: str | None) -> Entry | None:
    if entry_id is not None:
        return program(registry, entry_id)
    return program_named(registry, args[0]) if args else None


def _leave(code: int, foreground: Foreground) -> None:
    if foreground.hung:
        # What did not stop in time is still at work on threads of this process.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
