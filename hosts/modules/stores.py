"""The stores of a node: values by key, in memory or on disk, for the Lua module `store`."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from hosts.clients import Done
from hosts.deployed import Deployed
from journal.errors import BadRecordError, JournalError
from journal.kv import MAX_KEY, Change, KeyValues
from runtime.clock import Clock
from runtime.codec import decode_args, encode
from runtime.config.problems import suggest
from runtime.config.registry import Registry
from runtime.errors import Kind, PerdureError
from runtime.inputs import ReplyTo
from runtime.routing.router import TRUE, Router

FALSE: Final = encode(False)

#: Superseded times of expiry that a store in memory keeps, besides one a value.
_STALE: Final = 64


class Store(Protocol):
    """Where values are kept. Values are encoded; safe to use from any thread."""

    @property
    def id(self) -> str:
        """Entry id."""
        ...

    def get(self, key: bytes) -> bytes | None:
        """The value of a key that has one which has not expired."""
        ...

    def set(self, key: bytes, value: bytes, ttl: int | None, done: Done) -> None:
        """Give a key a value, for `ttl` nanoseconds or for ever; done(True, TRUE)."""
        ...

    def delete(self, key: bytes, done: Done) -> None:
        """Take a key's value away; done(True, whether it had one)."""
        ...


class _Kept(NamedTuple):
    value: bytes
    expires: int | None


class MemoryStore:
    """Values that last as long as the node runs.

    Args:
        max_size: values that have not expired, at most; 0 for no limit.
    """

    def __init__(self, store_id: str, clock: Clock, max_size: int) -> None:
        self.id = store_id
        self._now = clock.monotonic
        self.max_size = max_size
        self._lock = threading.Lock()
        self._kept: dict[bytes, _Kept] = {}
        #: When values expire; superseded times stay until they are due, or too many.
        self._expiry: list[tuple[int, bytes]] = []

    def get(self, key: bytes) -> bytes | None:
        with self._lock:
            kept = self._seen(key)
        return None if kept is None else kept.value

    def set(self, key: bytes, value: bytes, ttl: int | None, done: Done) -> None:
        with self._lock:
            self._sweep()
            if key not in self._kept and 0 < self.max_size <= len(self._kept):
                raise PerdureError(
                    Kind.UNAVAILABLE,
                    f"{self.id} is full: it holds {self.max_size} values, as many as its max_size"
                    " allows: raise it, delete some, or set them with a ttl",
                    True,
                )
            expires = None if ttl is None else self._now() + ttl
            self._kept[key] = _Kept(value, expires)
            if expires is not None:
                heapq.heappush(self._expiry, (expires, key))
        done(True, TRUE)

    def delete(self, key: bytes, done: Done) -> None:
        with self._lock:
            existed = self._seen(key) is not None
            self._kept.pop(key, None)
        done(True, TRUE if existed else FALSE)

    def _seen(self, key: bytes) -> _Kept | None:
        kept = self._kept.get(key)
        if kept is None or (kept.expires is not None and kept.expires <= self._now()):
            return None
        return kept

    def _sweep(self) -> None:
        """Forget what has expired."""
        now = self._now()
        while self._expiry and self._expiry[0][0] <= now:
            expires, key = heapq.heappop(self._expiry)
            kept = self._kept.get(key)
            if kept is not None and kept.expires == expires:
                del self._kept[key]
        if len(self._expiry) > 2 * len(self._kept) + _STALE:
            self._expiry = [
                (kept.expires, key) for key, kept in self._kept.items() if kept.expires is not None
            ]
            heapq.heapify(self._expiry)


class LmdbStore:
    """Values that are on disk before they are acknowledged.

    Args:
        opened: gives the open environment; raises PerdureError UNAVAILABLE.
    """

    def __init__(self, store_id: str, opened: Callable[[], KeyValues], clock: Clock) -> None:
        self.id = store_id
        self._opened = opened
        self._now = clock.wall

    def get(self, key: bytes) -> bytes | None:
        try:
            return self._opened().get(key, self._now())
        except BadRecordError as error:
            raise PerdureError(
                Kind.INTERNAL,
                f'{self.id}: the value of "{_shown(key)}" is damaged ({error.problem}): '
                "set or delete it",
            ) from error
        except JournalError as error:
            raise self._refusal(error) from error

    def set(self, key: bytes, value: bytes, ttl: int | None, done: Done) -> None:
        now = self._now()
        self._submit(Change(key, value, now, 0 if ttl is None else now + ttl), done)

    def delete(self, key: bytes, done: Done) -> None:
        self._submit(Change(key, None, self._now()), done)

    def _submit(self, change: Change, done: Done) -> None:
        def written(error: Exception | None) -> None:
            if error is not None:
                done(False, encode(self._refusal(error)))
            else:
                done(True, TRUE if change.value is not None or change.existed else FALSE)

        try:
            self._opened().submit(change, written)
        except JournalError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> PerdureError:
        return PerdureError(Kind.UNAVAILABLE, f"{self.id}: {error}", True)


class Stores:
    """What the Lua module `store` asks for."""

    def __init__(self, deployed: Deployed, router: Router, clock: Clock) -> None:
        self._deployed = deployed
        self._router = router
        self._stores: dict[str, Store] = {}
        self._clock = clock
        self.fit(deployed.registry)

    def fit(self, registry: Registry) -> None:
        """Have the stores in memory that a registry names; one that is there keeps its values."""
        for entry in registry.of_kind("store.memory"):
            store = self._stores.get(entry.id)
            if isinstance(store, MemoryStore):
                store.max_size = entry.data["max_size"]
            else:
                self.add(MemoryStore(entry.id, self._clock, entry.data["max_size"]))

    def forget(self, registry: Registry) -> None:
        """Let go of stores that a registry does not name; of those in memory the values go too."""
        for store_id in list(self._stores):
            if store_id not in registry:
                del self._stores[store_id]

    def add(self, store: Store) -> None:
        """Make a store known by its id."""
        self._stores[store.id] = store

    def ask(self, verb: str, pid: str, args: bytes, reply: ReplyTo | None) -> None:
        store_id, *rest = decode_args(args)
        store = self._store(store_id)

        def done(ok: bool, value: bytes) -> None:
            self._router.answer(reply, value, ok)

        if verb == "open":
            done(True, TRUE)
            return
        key = _key(store_id, rest[0])
        if verb == "get":
            value = store.get(key)
            if value is None:
                raise PerdureError(Kind.NOT_FOUND, f'{store_id} has no value for "{_shown(key)}"')
            done(True, value)
        elif verb == "has":
            done(True, FALSE if store.get(key) is None else TRUE)
        elif verb == "set":
            store.set(key, encode(rest[1]), rest[2], done)
        elif verb == "delete":
            store.delete(key, done)

    def lost(self, prefix: str) -> None:
        """Nothing is kept for a slot."""

    def _store(self, store_id: str) -> Store:
        store = self._stores.get(store_id)
        if store is None:
            found = f"there is no {store_id}"
            registry = self._deployed.registry
            if store_id in registry:
                found = f"{store_id} is a {registry.get(store_id).kind}"
            hint = suggest(store_id, self._stores, "the stores are {}")
            raise PerdureError(
                Kind.NOT_FOUND, f"{found}; {hint or 'add an entry of kind store.memory'}"
            )
        return store


def _key(store_id: str, given: str | bytes) -> bytes:
    """A key as bytes; those of Lua that are not UTF-8 are bytes already."""
    key = given if isinstance(given, bytes) else given.encode()
    if len(key) > MAX_KEY:
        raise PerdureError(
            Kind.INVALID, f"{store_id}: a key of {len(key)} bytes: at most {MAX_KEY} are possible"
        )
    return key


def _shown(key: bytes) -> str:
    return key.decode(errors="replace")
