"""Drawing a summary, with the library rich."""

from __future__ import annotations

import io
from typing import Any

from rich.box import ASCII
from rich.console import Console
from rich.table import Table


def draw(summary: list[dict[str, Any]]) -> str:
    """A table of the summary, as text."""
    table = Table("Sensor", "Values", "Mean", "Highest", box=ASCII)
    for each in summary:
        table.add_row(
            each["sensor"], str(each["values"]), f"{each['mean']:.1f}", f"{each['highest']:.1f}"
        )
    text = io.StringIO()
    Console(file=text, width=60).print(table)
    return text.getvalue().rstrip()
