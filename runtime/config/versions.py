"""Versions: what a registry was, step by step, and which of them is in force."""

from __future__ import annotations

from typing import Final, Generic, NamedTuple, TypeVar

from runtime.errors import Kind, PerdureError

#: Versions that are kept, the one in force among them. One costs about 100 bytes an entry; entries
#: that do not change are shared.
KEPT: Final = 256

State = TypeVar("State")


class Version(NamedTuple):
    """One state of the registry. The first has number 1; numbers are not given twice."""

    id: int
    #: What it was made from; None for the first, and where that is no longer kept.
    previous: int | None
    #: When it was made, ns since 1970.
    at: int


class Versions(Generic[State]):
    """The versions of a node, with what each stands for. One thread may change them at a time."""

    def __init__(self, first: State, at: int, kept: int = KEPT) -> None:
        self._kept = kept
        self._states = {1: (Version(1, None, at), first)}
        self._next = 2
        self.current = self._states[1][0]

    def all(self) -> list[Version]:
        """Those that are kept, the oldest first."""
        return [version for version, _ in list(self._states.values())]

    def get(self, number: int) -> Version:
        """A version by its number; raises PerdureError NOT_FOUND."""
        return self._find(number)[0]

    def state(self, number: int) -> State:
        """What a version stands for; raises PerdureError NOT_FOUND."""
        return self._find(number)[1]

    def after(self, number: int) -> Version | None:
        """The latest version that was made from this one."""
        made = [version for version in self.all() if version.previous == number]
        return made[-1] if made else None

    def add(self, state: State, at: int) -> Version:
        """A new version, made from the one in force, which it replaces."""
        version = Version(self._next, self.current.id, at)
        self._next += 1
        states = {**self._states, version.id: (version, state)}
        for number in list(states)[: max(0, len(states) - self._kept)]:
            del states[number]
        oldest = min(states)
        self._states = {
            number: (
                each
                if each.previous is None or each.previous >= oldest
                else each._replace(previous=None),
                kept,
            )
            for number, (each, kept) in states.items()
        }
        self.current = version
        return version

    def go_to(self, number: int) -> Version:
        """Put a version in force again; raises PerdureError NOT_FOUND."""
        self.current = self.get(number)
        return self.current

    def _find(self, number: int) -> tuple[Version, State]:
        found = self._states.get(number)
        if found is None:
            kept = self.all()
            raise PerdureError(
                Kind.NOT_FOUND,
                f"the registry has no version {number}: it keeps {kept[0].id} to {kept[-1].id}",
            )
        return found
