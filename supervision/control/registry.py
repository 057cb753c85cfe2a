"""The operations on the registry of a live node."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.clock import timestamp
from runtime.config.changes import Change, ChangeSet, upserts
from runtime.config.declarations import read_declarations
from runtime.config.export import entry_fields, files
from runtime.config.folder import yaml_files
from runtime.config.overrides import apply_overrides, concerning
from runtime.config.problems import ConfigurationError, Findings, Problem
from runtime.config.versions import Version

if TYPE_CHECKING:
    from supervision.node import Node


def listed(
    node: Node, kind: str | None = None, namespace: str | None = None
) -> list[dict[str, Any]]:
    """The entries in force: id, kind, and the file and line where they stand."""
    criteria = {"kind": kind, "namespace": namespace}
    found = node.registry.find({key: value for key, value in criteria.items() if value})
    return [
        {"id": entry.id, "kind": entry.kind, "file": entry.file, "line": entry.line}
        for entry in found
    ]


def show(node: Node, entry: str) -> dict[str, Any]:
    """An entry as YAML has it: its id, and the fields as they are written."""
    found = node.registry.get(entry)
    return {"id": found.id, "fields": entry_fields(found)}


def versions(node: Node) -> list[dict[str, Any]]:
    """The versions that are kept, the oldest first."""
    current = node.registry.version().id
    return [_version(each, each.id == current) for each in node.registry.versions()]


def apply(node: Node, paths: list[Any], delete: list[Any] | None = None) -> dict[str, Any]:
    """Bring in the entries of YAML files and of folders with them, and take entries out.

    Fields that were overridden when the node was started are overridden in them, too.

    paths: absolute, as the node finds them.
    """
    base = node.registry.version().id
    findings = Findings()
    declarations = []
    for path in map(Path, paths):
        if not path.exists():
            findings.problems.append(Problem(str(path), 0, "", "there is no such file or folder"))
            continue
        for file in yaml_files(path, findings) if path.is_dir() else [path]:
            declarations += read_declarations(file, os.environ, findings)
    given = concerning(node.overrides, declarations)
    declarations = apply_overrides(declarations, given, findings)
    if findings.problems:
        raise ConfigurationError(findings.problems)
    changes = upserts(node.registry.snapshot(base), declarations)
    changes += [Change("delete", str(each)) for each in delete or ()]
    version = node.registry.apply(ChangeSet(base, changes))
    return {
        **_version(version, True),
        "changes": [{"verb": each.verb, "id": each.id} for each in changes],
        "warnings": [str(each) for each in (*findings.warnings, *node.registry.warnings)],
    }


def rollback(node: Node, version: int) -> dict[str, Any]:
    """Put a version in force again."""
    return _version(node.registry.rollback(version), True)


def export(node: Node) -> dict[str, str]:
    """The entries in force as the files of an application: texts by path."""
    return files(node.registry.snapshot())


def _version(version: Version, current: bool) -> dict[str, Any]:
    return {
        "version": version.id,
        "previous": version.previous,
        "at": timestamp(version.at),
        "current": current,
    }
