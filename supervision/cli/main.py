"""The group of commands.

Exit codes: 0 done, 1 failed, 2 usage or configuration.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final

import click

#: Module of each command, which has it under its name.
_COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cancel": "live",
        "check": "check",
        "dead-letters": "live",
        "journal": "journal",
        "metrics": "live",
        "ps": "live",
        "registry": "registry",
        "replay": "replay",
        "run": "run",
        "send": "live",
        "services": "services",
        "spawn": "live",
        "terminate": "live",
        "workflows": "workflows",
    }
)


class Commands(click.Group):
    """Imports a command when it is asked for: some need the whole node, most a socket."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        # Where there is none of that name, click needs all of them to say which one is near.
        for name in [cmd_name] if cmd_name in _COMMANDS else _COMMANDS:
            module = import_module(f"supervision.cli.{_COMMANDS[name]}")
            self.add_command(getattr(module, name.replace("-", "_")))
        return self.commands.get(cmd_name)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib import metadata

    try:
        version = metadata.version("perdure")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    click.echo(f"perdure, version {version}")
    ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Run applications of processes, functions and durable workflows, and look into live ones.

    APP is a folder with YAML files. Commands other than run, check, replay and journal speak to the
    node that runs the application in the current folder, or in the one that --app or --data names.

    Exit codes: 0 done, 1 failed, 2 usage or configuration.
    """
    for stream in (sys.stdout, sys.stderr):
        # What users sent need not be text that the terminal can show.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
