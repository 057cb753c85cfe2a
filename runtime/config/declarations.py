"""Entries as they are declared in a YAML file, before anything about their kinds is checked."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.config.documents import Document, Located, MalformedYamlError, parse
from runtime.config.folder import read_text
from runtime.config.place import shown
from runtime.config.problems import Findings, Problem, suggest
from runtime.ids import EntryId

#: What a namespace and the name of an entry look like.
NAME = r"\w[\w.-]*"
_NAME_HINT = "use letters, digits, and _ . - inside"
_FILE_KEYS = ("entries", "meta", "namespace", "version")


@dataclass(frozen=True, slots=True)
class Declaration:
    """An entry as written: `body` has its kind, its meta and its fields, but not its name."""

    id: EntryId
    body: Mapping[str, Located]
    file: Path
    line: int


def read_declarations(
    file: Path, environ: Mapping[str, str], findings: Findings
) -> list[Declaration]:
    """The entries declared in a file; [] when it is some other YAML that is not meant for us."""
    try:
        documents = parse(read_text(file, findings), environ)
    except MalformedYamlError as error:
        line, message, hint = error.fault
        findings.unread(Problem(str(file), line, "", message, hint))
        return []
    declared = []
    for document in documents:
        if isinstance(document.root.value, dict):
            declared += _FileReader(file, findings).read(document)
    return declared


class _FileReader:
    """Reads one document of one file, and knows where findings about it go."""

    def __init__(self, file: Path, findings: Findings) -> None:
        self._file = file
        self._findings = findings

    def read(self, document: Document) -> list[Declaration]:
        root: dict[str, Located] = document.root.value
        if "entries" in root:
            declared = list(self._listed(root))
        elif "name" in root and "kind" in root:
            declared = list(self._single(document.root))
        else:
            if "namespace" in root:
                self._pass_over(root)
            return []
        self._report_faults(document, declared)
        return declared

    def _listed(self, root: dict[str, Located]) -> Iterator[Declaration]:
        for key in _unknown(root):
            hint = suggest(key, _FILE_KEYS, "a file has {}")
            self._findings.problems.append(
                Problem(str(self._file), root[key].line, "", f'unknown key "{key}"', hint)
            )
        namespace = self._namespace(root, root["entries"].line)
        entries = root["entries"].value
        if not isinstance(entries, (list, type(None))):
            message = f"entries: {shown(root['entries'])} is not a list"
            self._lose(root["entries"], message, "write a list of maps with name and kind")
            return
        for node in entries or ():
            if isinstance(node.value, dict):
                yield from self._entry(node, namespace)
            else:
                self._lose(node, f"{shown(node)} is not an entry", "write a map with name and kind")

    def _single(self, root: Located) -> Iterator[Declaration]:
        # The version is that of the file; kinds of plain data keep one of their own in a list.
        body = {
            key: node for key, node in root.value.items() if key not in ("namespace", "version")
        }
        namespace = self._namespace(root.value, root.value["name"].line)
        yield from self._entry(Located(body, root.line), namespace)

    def _entry(self, node: Located, namespace: str) -> Iterator[Declaration]:
        name = node.value.get("name")
        body = {key: item for key, item in node.value.items() if key != "name"}
        if name is None:
            self._lose(node, "an entry has no name", suggest("name", body, "add name:"))
        elif not isinstance(name.value, str) or not re.fullmatch(NAME, name.value):
            self._lose(name, f"{shown(name)} is not a name for an entry", _NAME_HINT)
        elif namespace:
            yield Declaration(EntryId(namespace, name.value), body, self._file, node.line)

    def _namespace(self, root: dict[str, Located], line: int) -> str:
        node = root.get("namespace")
        if node is None:
            misspelt = [key for key in _unknown(root) if key != "name"]
            hint = suggest("namespace", misspelt, "add namespace: at the top of the file")
            self._lose(Located(None, line), "the file has entries and no namespace", hint)
        elif not isinstance(node.value, str) or not re.fullmatch(NAME, node.value):
            self._lose(node, f"{shown(node)} is not a namespace", _NAME_HINT)
        else:
            return node.value
        return ""

    def _pass_over(self, root: dict[str, Located]) -> None:
        line = root["namespace"].line
        hint = suggest("entries", _unknown(root), "add entries: for it to be read")
        message = "passed over: it has a namespace and no entries"
        self._findings.warnings.append(Problem(str(self._file), line, "", message, hint))

    def _report_faults(self, document: Document, declared: list[Declaration]) -> None:
        lines = [each.line for each in declared]
        for line, message, hint in document.faults:
            above = bisect_right(lines, line)
            entry = str(declared[above - 1].id) if above else ""
            self._findings.problems.append(Problem(str(self._file), line, entry, message, hint))

    def _lose(self, node: Located, message: str, hint: str) -> None:
        self._findings.unread(Problem(str(self._file), node.line, "", message, hint))


def _unknown(root: Mapping[str, Located]) -> list[str]:
    return [key for key in root if key not in _FILE_KEYS]
