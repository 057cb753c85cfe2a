"""Names of processes: who holds which, on this node."""

from __future__ import annotations

import threading

from runtime.errors import Kind, PerdureError
from runtime.ids import check_name


class Names:
    """A bijection in one direction: a name has one holder, a process any number of names.

    Safe to call from any thread. Hosts call `release` before anybody hears of a process's end, so
    that a name is free by then.
    """

    def __init__(self) -> None:
        self._holder: dict[str, str] = {}
        self._names: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def register(self, name: str, pid: str) -> None:
        """Give `name` to `pid`; again to the same is no error.

        Raises PerdureError INVALID for what cannot be a name, ALREADY_EXISTS (details: the pid)
        while another process holds it.
        """
        check_name(name, "name")
        with self._lock:
            holder = self._holder.setdefault(name, pid)
            if holder != pid:
                raise PerdureError(
                    Kind.ALREADY_EXISTS,
                    f'name "{name}" is held by {holder}',
                    details={"pid": holder},
                )
            self._names.setdefault(pid, set()).add(name)

    def lookup(self, name: str) -> str | None:
        """PID of the holder, or None."""
        return self._holder.get(name)

    def unregister(self, name: str) -> None:
        """Free a name. Raises PerdureError NOT_FOUND when nobody holds it."""
        with self._lock:
            pid = self._holder.pop(name, None)
            if pid is None:
                raise PerdureError(Kind.NOT_FOUND, f'no process holds the name "{name}"')
            names = self._names[pid]
            names.discard(name)
            if not names:
                del self._names[pid]

    def release(self, pid: str) -> None:
        """Free all names of a process that ended."""
        if pid not in self._names:
            return
        with self._lock:
            for name in self._names.pop(pid, ()):
                self._holder.pop(name, None)

    def release_all(self, prefix: str) -> None:
        """Free all names of the processes whose PIDs begin with `prefix`."""
        for pid in [pid for pid in list(self._names) if pid.startswith(prefix)]:
            self.release(pid)

    def of(self, pid: str) -> list[str]:
        """Names that a process holds, sorted."""
        with self._lock:
            return sorted(self._names.get(pid, ()))
