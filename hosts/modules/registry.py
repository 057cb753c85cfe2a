"""What the Lua module `registry` asks for.

Reads are answered at once. A change waits for VMs and services, so it is made on a thread of its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from hosts.daemon_pool import DaemonPool
from runtime.codec import decode_args, encode
from runtime.config.changes import Change, ChangeSet, entry_map
from runtime.config.problems import ConfigurationError
from runtime.config.registry import Registry
from runtime.config.versions import Version
from runtime.errors import Kind, PerdureError
from runtime.inputs import ReplyTo
from runtime.routing.router import Router


class Live(Protocol):
    """The registry of the node."""

    def snapshot(self, version: int | None = None) -> Registry: ...
    def version(self, number: int | None = None) -> Version: ...
    def versions(self) -> list[Version]: ...
    def next_version(self, number: int) -> Version | None: ...
    def apply(self, changes: ChangeSet) -> Version: ...
    def rollback(self, version: int) -> Version: ...


class RegistryModule:
    """The Python half of `registry`. Safe to use from any thread."""

    def __init__(self, live: Live, router: Router) -> None:
        self._live = live
        self._router = router
        self._changes = DaemonPool(1)

    def ask(self, verb: str, pid: str, args: bytes, reply: ReplyTo | None) -> None:
        values = decode_args(args)
        if verb in _WRITES:
            self._changes.submit(lambda: self._write(_WRITES[verb], values, reply))
        else:
            self._router.answer(reply, encode(_READS[verb](self._live, *values)))

    def lost(self, prefix: str) -> None:
        """Nothing is kept for a slot."""

    def close(self) -> None:
        """The node stops: no change is begun any more."""
        self._changes.close()

    def _write(self, write: Callable[..., Any], values: list[Any], reply: ReplyTo | None) -> None:
        try:
            self._router.answer(reply, encode(write(self._live, *values)))
        except ConfigurationError as error:
            problems = [problem._asdict() for problem in error.problems]
            details = {"problems": problems}
            self._router.refuse(reply, PerdureError(error.kind, error.message, details=details))
        except PerdureError as error:
            self._router.refuse(reply, error)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            self._router.refuse(reply, PerdureError(Kind.INTERNAL, text))
            raise


def _criteria(given: Any) -> dict[str, Any]:
    """What `find` is asked for: `.kind` is `kind`, and `ns` is `namespace`."""
    if not isinstance(given, Mapping):
        return {}
    names = {str(key).removeprefix("."): value for key, value in given.items()}
    return {"namespace" if name == "ns" else name: value for name, value in names.items()}


def _version(version: Version | None) -> dict[str, Any] | None:
    return None if version is None else version._asdict()


def _get(live: Live, version: int | None, entry_id: str) -> Any:
    return entry_map(live.snapshot(version).get(entry_id))


def _find(live: Live, version: int | None, criteria: Any) -> Any:
    return [entry_map(entry) for entry in live.snapshot(version).find(_criteria(criteria))]


def _apply(live: Live, base: int, changes: list[Any]) -> Any:
    """changes: list of [verb, id, entry]."""
    made = [Change(*each) for each in changes]
    return _version(live.apply(ChangeSet(base, made)))


_READS: Final[dict[str, Callable[..., Any]]] = {
    "get": _get,
    "find": _find,
    "version": lambda live, number=None: _version(live.version(number)),
    "versions": lambda live: [_version(each) for each in live.versions()],
    "next": lambda live, number: _version(live.next_version(number)),
}
_WRITES: Final[dict[str, Callable[..., Any]]] = {
    "apply": _apply,
    "apply_version": lambda live, number: _version(live.rollback(number)),
}
