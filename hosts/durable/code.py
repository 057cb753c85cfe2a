"""Which code the runs of a shard run on: the code they are pinned to, or the code deployed now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hosts import sources
from journal.records import RunRow

if TYPE_CHECKING:
    from hosts.durable.shard import Shard


class Code:
    """The sources of a shard's runs. Used on the shard's thread."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._defined: set[bytes] = set()
        self._bundles: dict[str, sources.Bundle] = {}

    def bundle(self, entry: str) -> sources.Bundle | None:
        """The source that a new run of `entry` starts on; None when it is deployed no more."""
        bundle = self._bundles.get(entry)
        definitions = self._shard.parts.deployed.definitions
        if bundle is None and entry in definitions:
            bundle = sources.Bundle(entry, definitions)
            self._bundles[entry] = bundle
        return bundle

    def is_latest(self, entry: str) -> bool:
        """Whether runs of an entry take new code by themselves."""
        return bool(self._shard.parts.deployed.option(entry, "versioning") == "latest")

    def definition(self, row: RunRow, started: Mapping[str, Any]) -> str:
        """What the machine is to run a run as.

        Args:
            started: the content of its `started` record.
        """
        entry, digest = row.entry, source_of(row, started)
        bundle = self.bundle(entry)
        if bundle is not None and (self.is_latest(entry) or bundle.digest == digest):
            return entry
        if digest not in self._defined:
            blob = self._shard.journal.source(digest)
            if blob is None:
                return entry
            self._shard.machine.define(sources.renamed(blob, digest))
            self._defined.add(digest)
        return sources.pinned_name(entry, digest)

    def redeployed(self) -> set[str]:
        """The definitions have changed: forget those of before; the entries that have new ones."""
        old, self._bundles = self._bundles, {}
        return {entry for entry, was in old.items() if (new := self.bundle(entry)) is None
                or new.digest != was.digest}  # fmt: skip

    def new_machine(self) -> None:
        """The machine was replaced: nothing is defined in it but what is deployed."""
        self._defined.clear()


def source_of(row: RunRow, started: Mapping[str, Any]) -> bytes:
    """Content hash of the source that a run is pinned to: the one it started on, or moved to."""
    digest: bytes = (row.extra or {}).get("source") or started["source"]
    return digest
