"""What the commands print: tables for people, lines of JSON for programs.

rich is imported where a table is made: that takes longer than to ask a node for its rows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from supervision.control.plain import plain

if TYPE_CHECKING:
    from rich.table import Table

Row = Mapping[str, Any]

#: Columns of output that is no terminal: nothing is folded there.
_WIDE = 100_000

#: Rows from which on a table is plain: laying out 100,000 takes half a minute.
_LONG = 1000

_STYLES = {
    "running": "green",
    "completed": "green",
    "open": "cyan",
    "starting": "cyan",
    "stopping": "yellow",
    "suspended": "yellow",
    "failed": "red",
    "exited": "red",
    "terminated": "red",
    "cancelled": "yellow",
}


def listing(
    rows: Sequence[Row], as_json: bool, columns: Mapping[str, str | Callable[[Row], Any]]
) -> None:
    """Rows as a table, or as JSON, one a line.

    Args:
        columns: by heading, the field that is shown, or what makes it of the row.
    """
    if as_json:
        for row in rows:
            json_line(row)
        return
    shown = [itemgetter(each) if isinstance(each, str) else each for each in columns.values()]
    table(list(columns), ([show(row) for show in shown] for row in rows))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on stdout; values that are no text are shown as `cell` does."""
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    if len(rows) > _LONG:
        _columns([columns, *([cell(value) for value in row] for row in rows)])
        return
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        texts = [cell(value) for value in row]
        grid.add_row(*(Text(text, _STYLES.get(text, "")) for text in texts))
    _print(grid)


def _columns(rows: Sequence[Sequence[str]]) -> None:
    """A long table as plain columns, a row a line."""
    from rich.cells import cell_len

    lines = [[text.replace("\n", "\\n") for text in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (
            text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=True)
        )
        click.echo("  ".join(padded).rstrip())


def cell(value: Any) -> str:
    """A value in a table: nothing for None, text as it is, else JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def facts(pairs: Mapping[str, Any]) -> None:
    """Names and values, one a line; those without a value are left out."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in pairs.items():
        if value not in (None, "", []):
            text = cell(value)
            grid.add_row(name, Text(text, _STYLES.get(text, "")))
    _print(grid)


def _print(grid: Table) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)
    with console.capture() as capture:
        console.print(grid)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


def json_line(value: Any) -> None:
    """One value as a line of JSON on stdout."""
    click.echo(json.dumps(plain(value), ensure_ascii=False))


def local_time(timestamp: str | None) -> str:
    """An ISO 8601 time as the clock on the wall shows it."""
    if timestamp is None:
        return ""
    moment = datetime.fromisoformat(timestamp).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def duration(seconds: float | None) -> str:
    """Seconds for a table: 4.2s, 12m 5s, 3h 4m, 2d 3h."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour}h"
    return f"{hour}h {minute}m" if hours else f"{minute}m {second}s"
