"""The group of commands.

Exit codes: 0 done, 1 failed, 2 usage or configuration.
"""

from __future__ import annotations

import sys
from importlib import metadata

import click

from supervision.cli import live
from supervision.cli.check import check
from supervision.cli.journal import journal
from supervision.cli.registry import registry
from supervision.cli.replay import replay
from supervision.cli.run import run
from supervision.cli.services import services
from supervision.cli.workflows import workflows


def _version() -> str:
    try:
        return metadata.version("perdure")
    except metadata.PackageNotFoundError:
        return "(not installed)"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), prog_name="perdure")
def main() -> None:
    """Run applications of processes, functions and durable workflows, and look into live ones.

    APP is a folder with YAML files. Commands other than run, check, replay and journal speak to the
    node that runs the application in the current folder, or in the one that --app or --data names.

    Exit codes: 0 done, 1 failed, 2 usage or configuration.
    """
    for stream in (sys.stdout, sys.stderr):
        # What users sent need not be text that the terminal can show.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


for command in (run, check, replay, services, workflows, registry, journal, *live.COMMANDS):
    main.add_command(command)
