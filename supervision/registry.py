"""The registry of a live node: read it, change it, go back to what it was."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from hosts.functions import PythonFunction, PythonFunctions
from hosts.targets import unless_refused
from runtime.clock import Clock
from runtime.config.changes import Changed, ChangeSet, change, differing
from runtime.config.problems import ConfigurationError, Problem
from runtime.config.registry import Entry, Registry
from runtime.config.versions import Version, Versions
from runtime.errors import Kind, PerdureError
from supervision.preflight import preflight


class Deployment(NamedTuple):
    """A registry, and the Python functions that it names."""

    registry: Registry
    functions: Mapping[str, PythonFunction]


class Deploy(Protocol):
    """Makes the node run a deployment in place of another; whole, or not at all."""

    def __call__(self, old: Deployment, new: Deployment, touched: frozenset[str]) -> None:
        """Raises PerdureError when the node runs the old one as before."""
        ...


class LiveRegistry:
    """The registry of a node. Safe to use from any thread; one change is made at a time.

    Args:
        first: what the node was booted with.
        folder, source: see `runtime.config.changes.change`.
        python: where the Python functions of a change are imported.
        deploy: called for each change that was found to be good.
    """

    def __init__(
        self,
        first: Deployment,
        folder: Path,
        source: Path,
        python: PythonFunctions,
        clock: Clock,
        deploy: Deploy,
    ) -> None:
        self._folder = folder
        self._source = source
        self._python = python
        self._clock = clock
        self._deploy = deploy
        self._versions = Versions(first, clock.wall())
        self._changing = threading.Lock()
        #: What the last change was warned of: it was accepted, and has no effect.
        self.warnings: tuple[Problem, ...] = ()

    # Reading --------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.snapshot())

    def __contains__(self, entry_id: str) -> bool:
        return entry_id in self.snapshot()

    def get(self, entry_id: str) -> Entry:
        """The entry of this id; see `Registry.get`."""
        return self.snapshot().get(entry_id)

    def find(self, criteria: Mapping[str, Any]) -> list[Entry]:
        """The entries that meet all criteria; see `Registry.find`."""
        return self.snapshot().find(criteria)

    def all(self) -> list[Entry]:
        """Every entry, sorted by id."""
        return self.snapshot().all()

    def of_kind(self, *kinds: str) -> list[Entry]:
        """The entries of these kinds."""
        return self.snapshot().of_kind(*kinds)

    def snapshot(self, version: int | None = None) -> Registry:
        """The entries of a version, by default of the one in force. They never change.

        Raises PerdureError NOT_FOUND for a version that there is not, or is no longer kept.
        """
        number = self._versions.current.id if version is None else version
        return self._versions.state(number).registry

    def version(self, number: int | None = None) -> Version:
        """A version by its number, by default the one in force. Raises PerdureError NOT_FOUND."""
        return self._versions.current if number is None else self._versions.get(number)

    def versions(self) -> list[Version]:
        """Those that are kept, the oldest first."""
        return self._versions.all()

    def next_version(self, number: int) -> Version | None:
        """The latest version that was made from this one."""
        return self._versions.after(number)

    # Changing -------------------------------------------------------------------------------------

    def changes(self) -> ChangeSet:
        """An empty change set on top of the version in force."""
        return ChangeSet(self._versions.current.id)

    def apply(self, changes: ChangeSet) -> Version:
        """Make the changes, all or none; the version that comes of it, which is in force then.

        New calls, processes and runs have the new code when this is back, and what runs goes on
        with the code it began with.

        Raises PerdureError: CONFLICT when another version than the base of the change set is in
        force; ConfigurationError (INVALID) with all problems; what a service that does not start
        fails with.
        """
        with self._changing:
            current = self._versions.current
            if changes.base != current.id:
                raise PerdureError(
                    Kind.CONFLICT,
                    f"the changes are for version {changes.base} of the registry, and version "
                    f"{current.id} is in force: look at it, and make them again",
                )
            old = self._versions.state(current.id)
            changed = change(old.registry, changes.changes, self._folder, self._source)
            with unless_refused(self._python.folder):
                new = self._prepared(old, changed)
                self._deploy(old, new, changed.touched)
            self.warnings = changed.warnings
            return self._versions.add(new, self._clock.wall())

    def rollback(self, version: int) -> Version:
        """Put a version in force again, later or earlier than this one.

        Raises PerdureError NOT_FOUND, or what a service that does not start fails with.
        """
        with self._changing:
            old, new = (self._versions.state(each) for each in (self._versions.current.id, version))
            self._deploy(old, new, differing(old.registry, new.registry))
            return self._versions.go_to(version)

    def _prepared(self, old: Deployment, changed: Changed) -> Deployment:
        checked = preflight(changed.registry, self._python, old.functions, changed.touched)
        if checked.problems:
            raise ConfigurationError(checked.problems)
        return Deployment(changed.registry, checked.functions)
