"""An application's folder: its source folder, its YAML files, and modules that shadow ours."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from runtime.config.documents import Located, MalformedYamlError, parse
from runtime.config.problems import Findings, Problem

LOCK_FILE = "wippy.lock"

#: The import packages of this distribution.
OUR_PACKAGES = ("hosts", "journal", "runtime", "supervision")


def read_text(file: Path, findings: Findings) -> str:
    """The text of a UTF-8 file, or "" after a report."""
    try:
        content = file.read_bytes()
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        findings.unread(Problem(str(file), 0, "", message, "make it readable"))
        return ""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"not UTF-8 text: {error.reason}"
        findings.unread(Problem(str(file), line, "", message, "save it as UTF-8"))
        return ""


def source_folder(folder: Path, environ: Mapping[str, str], findings: Findings) -> Path:
    """The folder that holds the application's YAML: `directories.src` of its lock, or itself."""
    lock = folder / LOCK_FILE
    if not lock.is_file():
        return folder

    def report(line: int, message: str, hint: str) -> Path:
        findings.problems.append(Problem(str(lock), line, "", message, hint))
        return folder

    try:
        documents = parse(read_text(lock, findings), environ)
    except MalformedYamlError as error:
        return report(*error.fault)
    for fault in documents[0].faults if documents else ():
        report(*fault)
    source = _below(_below(documents[0].root if documents else None, "directories"), "src")
    if source is None or source.value is None:
        return folder
    if not isinstance(source.value, str):
        return report(
            source.line, "directories.src is not a path", "write a path relative to this file"
        )
    path = (folder / source.value).resolve()
    if not path.is_dir():
        return report(
            source.line,
            f"directories.src: there is no folder {path}",
            "create it, or correct the path",
        )
    return path


def _below(node: Located | None, key: str) -> Located | None:
    return node.value.get(key) if node and isinstance(node.value, dict) else None


def yaml_files(folder: Path, findings: Findings) -> Iterator[Path]:
    """Every YAML file in a folder and below, sorted; hidden files and folders are passed over.

    A folder that links lead to more than once is read once.
    """

    def unreadable(error: OSError) -> None:
        message = f"cannot be read: {error.strerror}"
        findings.problems.append(Problem(error.filename, 0, "", message, "make it readable"))

    seen: set[str] = set()
    for place, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.endswith((".yaml", ".yml")) and not name.startswith("."):
                yield Path(place, name)


def shadowing_modules(folder: Path) -> list[Problem]:
    """Python modules and packages at the top of `folder` that bear the name of one of ours.

    Ours come first on the import path, so the application could never import its own. A folder
    that holds no Python is no package and no conflict.
    """
    problems = []
    for name in OUR_PACKAGES:
        for path in (folder / f"{name}.py", folder / name):
            if path.is_file() if path.suffix else next(path.rglob("*.py"), None):
                message = f'the module "{name}" has the name of a package of Perdure'
                hint = f"rename it, for example to app_{name}"
                problems.append(Problem(str(path), 0, "", message, hint))
    return problems
