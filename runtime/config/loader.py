"""`load`: an application's folder in, a registry out, or every problem there is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from runtime.config.check import check
from runtime.config.declarations import read_declarations
from runtime.config.folder import shadowing_modules, source_folder, yaml_files
from runtime.config.overrides import apply_overrides
from runtime.config.problems import ConfigurationError, Findings, Problem
from runtime.config.registry import Registry
from runtime.config.services import cycle_problems, family_problems


class Loaded(NamedTuple):
    """A configuration without problems.

    `warnings` name what was accepted and has no effect. `source_folder` (absolute) is where the
    YAML is: the application's folder, or the one that its wippy.lock names. `overrides` are in the
    registry already.
    """

    registry: Registry
    warnings: tuple[Problem, ...]
    source_folder: Path
    overrides: tuple[str, ...] = ()


def load(
    path: str | Path, overrides: Sequence[str] = (), environ: Mapping[str, str] = os.environ
) -> Loaded:
    """Read and check the application in a folder.

    Args:
        path: the application's folder.
        overrides: `namespace:name:field=value` each, as given with `-o`.
        environ: where `${env:NAME}` is looked up.

    Raises ConfigurationError with all problems.
    """
    folder = Path(path).resolve()
    if not folder.is_dir():
        hint = "name the folder that holds the application's YAML"
        raise ConfigurationError([Problem(str(folder), 0, "", "there is no such folder", hint)])
    findings = Findings()
    source = source_folder(folder, environ, findings)
    for each in sorted({folder, source}):
        findings.problems += shadowing_modules(each)
    declarations = [
        declaration
        for file in yaml_files(source, findings)
        for declaration in read_declarations(file, environ, findings)
    ]
    if not declarations and not findings.problems:
        message = "there are no entries in this folder"
        hint = "add a YAML file with a namespace and entries"
        findings.problems.append(Problem(str(source), 0, "", message, hint))
    declarations = apply_overrides(declarations, overrides, findings)
    registry = Registry(check(declarations, folder, findings))
    findings.problems += family_problems(registry) + cycle_problems(registry)
    if findings.problems:
        raise ConfigurationError(findings.problems)
    return Loaded(registry, tuple(sorted(findings.warnings)), source, tuple(overrides))
