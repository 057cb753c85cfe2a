"""The command: `python -m benchmarks`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import report
from benchmarks.catalogue import ALL
from benchmarks.runner import run
from benchmarks.surroundings import surroundings, warnings


@click.command()
@click.option(
    "--only",
    "names",
    multiple=True,
    type=click.Choice(list(ALL)),
    help="One benchmark; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@click.option("--quick", is_flag=True, help="Tiny sizes: shows that all of it works.")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    default=".",
    help="Where journals are written, on a disk; by default here. Nothing is left behind.",
)
def main(names: tuple[str, ...], as_json: bool, quick: bool, folder: Path) -> None:
    """Measure what Perdure costs, beside its peers where there are such."""
    facts = surroundings(folder.resolve())
    notes = Console(stderr=True)
    for warning in warnings(facts):
        notes.print(f"[yellow]warning:[/] {warning}", highlight=False)
    results = []
    for name in names or ALL:
        with notes.status(name):
            results += run(ALL[name], folder.resolve(), quick=quick)
    if as_json:
        print(report.document(results, facts, quick=quick))
        return
    console = Console()
    # A table that is cut to the 80 columns of a pipe or a log could not be read.
    console.width = max(console.width, 220)
    console.print(_heading(facts), highlight=False)
    console.print(report.table(results, quick=quick))
    for note in report.notes(results):
        console.print(note, highlight=False)


def _heading(facts: dict[str, Any]) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())
    load = " ".join(str(each) for each in facts["load"])
    return (
        f"{facts['machine']}, {facts['cores']} cores, load average {load} at the start\n"
        f"{facts['python']}, {libraries}\n"
        f"Journals on {facts['file system']} in {facts['folder']}, an fsync per commit\n"
    )


main()
