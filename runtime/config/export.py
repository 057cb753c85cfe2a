"""A registry as the files of an application that boots to the same entries."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from runtime.config.documents import Located, as_written, write_value
from runtime.config.registry import Entry, Registry

#: The YAML file of each namespace, which has a folder of its own.
INDEX = "_index.yaml"


def files(registry: Registry) -> dict[str, str]:
    """Texts by path below the application's folder: YAML, and each Lua source as a file.

    What stood in `${env:…}` stands there again, and paths are relative to the application's folder
    as they were. The modules of Python functions are not among the files.
    """
    texts: dict[str, str] = {}
    for namespace, entries in groupby(registry.all(), key=lambda entry: entry.namespace):
        listed = []
        for entry in entries:
            fields = entry_fields(entry)
            source = entry.written.get("source")
            if entry.kind.endswith(".lua") and isinstance(source, str):
                file = f"{entry.name}.lua"
                texts[f"{namespace}/{file}"] = source
                fields["source"] = f"file://{file}"
            listed.append(fields)
        document = {"version": "1.0", "namespace": namespace, "entries": listed}
        texts[f"{namespace}/{INDEX}"] = write_value(document)
    return texts


def entry_fields(entry: Entry) -> dict[str, Any]:
    """An entry as YAML has to say it, a source as its text."""
    body = dict(entry.declaration.body) if entry.declaration else {}
    body.pop("kind", None)
    written: dict[str, Any] = as_written(Located(body))
    return {"name": entry.name, "kind": entry.kind, **written}
