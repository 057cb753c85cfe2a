"""The example of the order desk, copied so that a test can run it, kill it and read its books."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples/orders"

APPROVAL_ABOVE = 100

_PERDURE = [sys.executable, "-c", "from supervision.cli.main import main; main()"]


def copy(folder: Path, orders: int | None = None) -> Path:
    """The example in a folder of its own, with its first so many orders."""
    app = folder / "orders"
    ignored = shutil.ignore_patterns("data", ".perdure", "__pycache__")
    shutil.copytree(EXAMPLE, app, ignore=ignored)
    if orders is not None:
        file = app / "orders.csv"
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        file.write_text("".join(lines[: orders + 1]), encoding="utf-8")
    return app


def demo(
    app: Path, overrides: Sequence[str] = (), data: Path | None = None
) -> subprocess.Popen[str]:
    """`perdure run APP demo`, with its output in pipes."""
    options = [word for each in overrides for word in ("-o", each)]
    if data is not None:
        options += ["--data", str(data)]
    return subprocess.Popen(
        [*_PERDURE, "run", str(app), *options, "demo"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_python(script: str) -> subprocess.CompletedProcess[str]:
    """A script in a Python of its own, which must end by itself."""
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def table(output: str) -> str:
    """What the demo prints from its table on."""
    return output[output.index("outcome ") :]


def counts(output: str) -> dict[str, int]:
    """Orders by outcome, from the demo's table."""
    rows = table(output).split("-\n")[1].splitlines()
    return {row[:14].strip(): int(row[14:].split()[0]) for row in rows if not row.startswith("-")}


def expected(app: Path) -> dict[str, int]:
    """Orders by outcome, from what the file of orders says of each."""
    with (app / "orders.csv").open(encoding="utf-8", newline="") as file:
        found = Counter(_outcome(row) for row in csv.DictReader(file))
    return dict(found)


def _outcome(row: dict[str, str]) -> str:
    if int(row["quantity"]) > int(row["stock"]):
        return "out of stock"
    if row["fault"] == "card":
        return "card declined"
    if int(row["total"]) > APPROVAL_ABOVE and row["approval"] != "granted":
        return "refused" if row["approval"] == "refused" else "expired"
    return "undeliverable" if row["fault"] == "address" else "shipped"
