"""Runs the code of a page of docs/.

The fenced blocks of a page are one application, in a folder `shop`:

- a block whose first line is a comment with a file name (`# app.yaml`, `-- till.lua`, `# stock.py`)
  is that file;
- every other `lua` block is run as a function, a process and a workflow, on the hosts that
  `HOSTS` adds to the application; words behind the language (`lua process`) name those that it is
  for. It may require whatever it asks for. What it prints is compared with its comments
  `--> text`, in their order; `...` in these stands for any text;
- every other `python` block is run with `node`, the running supervision.Node; its comments are
  `#> text`;
- in a `sh` block, the lines that begin with `perdure` or `pytest` are run beside the folder,
  while the node runs;
- a `text`, `json` or `mermaid` block is there to be read.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from runtime.errors import PerdureError
from supervision.node import Node
from tests.replay_lab import misfits

ROOT: Final = Path(__file__).parent.parent
DOCS: Final = ROOT / "docs"
PATIENCE: Final = 30.0

HOSTS: Final[list[dict[str, Any]]] = [
    {"name": "journal", "kind": "journal.lmdb", "path": "./data/journal"},
    {"name": "workflows", "kind": "workflow.host", "journal": "docs:journal", "workers": 1},
    {"name": "processes", "kind": "process.host", "host": {"workers": 1}},
]
KINDS: Final = ("function", "process", "workflow")
SHOWN_ONLY: Final = ("text", "json", "mermaid")
_COMMANDS: Final = {"perdure": "supervision.cli", "pytest": "pytest"}

_BLOCK = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"(?:#|--) ([\w/]+\.(?:yaml|lua|py))\b")
_REQUIRE = re.compile(r"""require\s*\(?["'](\w+)["']""")


class Block(NamedTuple):
    """A fenced block: its language, the words behind that, its code and its line in the page."""

    language: str
    words: list[str]
    code: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that it is, if it is one."""
        found = _FILE.match(self.code)
        return found and found[1]

    @property
    def expected(self) -> list[str]:
        """What its comments say that it prints."""
        mark = "#>" if self.language == "python" else "-->"
        lines = re.findall(rf"{mark} ?(.*)$", self.code, flags=re.MULTILINE)
        return [" ".join(line.split()) for line in lines]


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[1], found[2].split(), found[3], text.count("\n", 0, found.start()) + 1)
        for found in _BLOCK.finditer(text)
    ]


def section_of(page: str, title: str) -> str:
    """The text under a heading."""
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows_of(page: str, title: str) -> list[list[str]]:
    """The cells of the tables under a heading, without their heads."""
    lines = re.findall(r"^\| (.*) \|$", section_of(page, title), flags=re.MULTILINE)
    return [line.split(" | ") for line in lines[1:]]


def run_page(page: Path, folder: Path) -> None:
    """Run what a page shows, in a folder of its own; AssertionError names the line."""
    blocks = blocks_of(page)
    shop = folder / "shop"
    _write(blocks, shop)
    with Node.from_path(shop) as node:
        for number, block in enumerate(blocks):
            where = f"{page}:{block.line}"
            if block.language == "lua" and not block.file:
                for kind in block.words or KINDS:
                    _check(_run_lua(node, _name(number, kind), kind), block, f"{where} as {kind}")
            elif block.language == "python" and not block.file:
                _check(_run_python(node, block.code), block, where)
            elif block.language == "sh":
                _run_commands(block.code, folder, where)
    _, differ = misfits(shop)
    assert differ == {}, f"{page}: a replay does otherwise"


def _write(blocks: list[Block], shop: Path) -> None:
    entries = list(HOSTS)
    for number, block in enumerate(blocks):
        if block.file:
            file = shop / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.code, encoding="utf-8")
        elif block.language == "lua":
            modules = sorted(set(_REQUIRE.findall(block.code)))
            for kind in block.words or KINDS:
                entries.append(
                    {
                        "name": _name(number, kind),
                        "kind": f"{kind}.lua",
                        "source": block.code,
                        "modules": modules,
                    }
                )
        else:
            assert block.language in ("python", "sh", *SHOWN_ONLY), f"line {block.line}: a name?"
    shop.mkdir(parents=True, exist_ok=True)
    document = {"version": "1.0", "namespace": "docs", "entries": entries}
    (shop / "docs.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")


def _name(number: int, kind: str) -> str:
    return f"example_{number}_{kind}"


def _check(printed: list[str], block: Block, where: str) -> None:
    patterns = [re.escape(line).replace(r"\.\.\.", ".*") for line in block.expected]
    agrees = len(printed) == len(patterns) and all(
        re.fullmatch(pattern, line, flags=re.DOTALL)
        for pattern, line in zip(patterns, printed, strict=True)
    )
    assert agrees, f"{where}: it printed {printed}, and says {block.expected}"


def _run_lua(node: Node, name: str, kind: str) -> list[str]:
    entry = f"docs:{name}"
    with _printed() as lines:
        try:
            if kind == "function":
                node.call(entry, timeout=PATIENCE)
            else:
                host = "docs:processes" if kind == "process" else "docs:workflows"
                node.result(node.spawn(entry, host), PATIENCE)
        except PerdureError as error:
            raise AssertionError(f"{entry} failed: {error}\n{error.trace}") from None
    return lines


@contextlib.contextmanager
def _printed() -> Iterator[list[str]]:
    """What Lua code prints meanwhile, without who says it."""
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if hasattr(record, "entry"):  # and is no "{pid} ended with an error"
                lines.append(" ".join(record.getMessage().partition(": ")[2].split()))

    logger, handler = logging.getLogger("perdure.lua"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _run_python(node: Node, code: str) -> list[str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "<page>", "exec"), {"node": node})
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def _run_commands(code: str, folder: Path, where: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for line in code.splitlines():
        name, *arguments = shlex.split(line, comments=True) or [""]
        if name in _COMMANDS:
            done = subprocess.run(
                [sys.executable, "-m", _COMMANDS[name], *arguments],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, f"{where}: {line}\n{done.stdout}{done.stderr}"
