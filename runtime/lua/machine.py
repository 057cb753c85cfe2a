"""The Lua machine: one VM that many processes, functions and workflow runs share.

`step(inputs) -> commands` is all there is: inputs and commands cross as bytes, one crossing for
many slots, so Lua never holds a Python object but the functions of bridge.py, and Python none of
Lua's. What the machine does in between is in the prelude: scheduler.lua (tasks and fuel),
slots.lua (birth and end), sources.lua (compiled entries), sandbox.lua (globals), boundary.lua
(this boundary).

A machine belongs to one thread at a time.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

import msgpack
from lupa.lua54 import LuaMemoryError, LuaRuntime

from runtime import inputs
from runtime.clock import Clock
from runtime.codec import encode
from runtime.commands import Command, decode_commands
from runtime.errors import Kind, PerdureError
from runtime.inbox import NO_LIMIT, InboxLimit
from runtime.inputs import Input, Packed
from runtime.lua.bridge import FUNCTIONS, guarded
from runtime.lua.metering import metered

#: Version of the semantics that recorded histories depend on; raised when a replay of an old
#: history could give other commands.
MACHINE_VERSION: Final = 3

#: Turns of tasks between two looks at the inbox of the VM worker. A turn is about 1 us, so inputs
#: wait a few milliseconds at most while the processes of one VM keep each other busy.
SLICE: Final = 2000

#: Order matters: each file may use what those before it put into the shared table.
PRELUDE: Final = (
    "objects", "fuel", "errors", "bridge", "payload_faults", "codec", "decode", "copy",
    "arguments", "scheduler", "traces", "emit", "slots", "parcel", "ends", "recorded", "random",
    "waiters", "channel", "select",
    "message", "unread", "mailbox", "process", "spawn", "control", "names", "upgrade",
    "funcs", "future", "ctx", "ask",
    "duration", "calendar", "locations", "layout", "time_format", "time_parse", "time", "timers",
    "json", "uuid", "workflow", "log", "terminal", "events", "store", "env", "metrics",
    "schema", "base64", "hash", "yaml", "crypto", "jwt", "payload", "registry",
    "pattern_cost", "matcher", "patterns", "bounds", "coroutines", "order", "globals", "libraries",
    "proxies", "typed", "metered", "sources", "boundary",
)  # fmt: skip
#: Those that are not metered: their functions take little time each, or charge for it themselves.
UNMETERED: Final = frozenset({
    "objects", "fuel", "codec", "decode", "copy", "arguments", "scheduler", "traces", "emit",
    "slots", "parcel", "ends", "waiters", "channel", "select", "message", "mailbox", "process",
    "funcs", "coroutines", "globals", "proxies", "boundary",
})  # fmt: skip
#: Prelude files that return a module of their own name.
MODULE_FILES: Final = frozenset({"errors", "time", "json", "uuid"})


class Definition(NamedTuple):
    """What a machine needs to know of an entry to run it."""

    kind: str
    source: str
    chunk: str  #: file name in messages and tracebacks
    method: str
    modules: list[str]
    imports: dict[str, str]
    inline: bool  #: a function that may run in the VM of its caller


def as_maps(entries: Mapping[str, Definition]) -> dict[str, dict[str, Any]]:
    """Definitions as the input `define` carries them."""
    return {entry_id: each._asdict() for entry_id, each in entries.items()}


class OutOfMemoryError(Exception):
    """The VM hit its hard cap: everything in it is lost, and it must be replaced."""


class Machine:
    """One Lua VM.

    Args:
        host: entry id of the host whose processes run here.
        pid_prefix: how the PIDs made here begin, as in `{app:processes|0x1000`; no other machine
            of this or another boot has the same.
        clock: where `time.now` of processes comes from.
        fuel: Lua instructions that a slot may run without yielding, or 0 for no limit.
        payload_limit: bytes that what a workflow sends out may have, or 0 for no limit.
        over_limit: what the error says that too large a thing is more than: whose limit, and
            what to do.
        memory: bytes at which the process that grew the VM is killed.
        growth: bytes by which a step of a workflow may grow the VM, or 0 for no limit but
            `memory`.
        cap: bytes that the VM can have at all; by default half more than `memory`.
        inbox: how many messages may wait for a process.
        parcels: whether what goes from processes to those of other VMs comes out as Parcels.
        patched: whether the run that is stepped took the code that goes by a marker, for slots
            that are `derived`.
    """

    def __init__(
        self,
        host: str,
        pid_prefix: str,
        clock: Clock,
        *,
        fuel: int = 100_000_000,
        memory: int = 1 << 30,
        growth: int = 0,
        payload_limit: int = 0,
        over_limit: str = "",
        cap: int | None = None,
        inbox: InboxLimit = NO_LIMIT,
        parcels: bool = False,
        patched: Callable[[str], bool] = lambda name: True,
    ) -> None:
        self._cap = memory + memory // 2 if cap is None else cap
        self._limit = 0  # bytes that Lua may hold now; 0: no limit
        #: Processes in it after the last step.
        self.live = 0
        #: Messages that full inboxes dropped or refused.
        self.dropped = 0
        lua = LuaRuntime(
            encoding=None,
            unpack_returned_tuples=True,
            register_eval=False,
            register_builtins=False,
            max_memory=0,
        )
        self._lua = lua
        shared = lua.table()
        modules = lua.table()
        shared[b"modules"] = modules
        shared[b"process"] = lua.table()
        shared[b"host"] = host.encode()
        shared[b"fuel"] = fuel or False
        shared[b"memory_limit"] = memory // 1024
        shared[b"step_growth"] = growth // 1024 or False
        shared[b"payload_limit"] = payload_limit or (1 << 62)
        over_limit = over_limit or (
            f"the payload_limit of the journal, {payload_limit}: keep it elsewhere and pass on "
            "where, or raise the limit"
        )
        shared[b"over_limit"] = over_limit.encode()
        shared[b"inbox_size"] = inbox.size or False
        shared[b"parcels"] = parcels
        shared[b"inbox_policy"] = inbox.policy.encode()
        shared[b"wall"] = clock.wall  # a bare integer: it can neither fail nor outgrow the VM
        # Lua must not hold the machine: neither collector sees a cycle through both.
        weak = weakref.proxy(self)
        bridge = lua.table()
        functions = {**FUNCTIONS, "patched": lambda name: patched(name.decode())}
        for name, function in functions.items():
            bridge[name.encode()] = guarded(function, lambda: weak._limit_memory(0))
        shared[b"bridge"] = bridge
        shared[b"restore_limit"] = lambda: weak._limit_memory(weak._limit)
        load = lua.execute(_LOAD)
        for name, code in _prelude(bool(fuel)):
            exports = load(code, shared)
            if name in MODULE_FILES:
                modules[name.encode()] = exports
            elif exports is not None:
                shared[name.encode()] = exports
        self._seal = lua.execute(_SEAL)
        self._receive, self._run, self._inspect = self._seal(shared, pid_prefix.encode())

    def step(
        self, batch: Sequence[Input | Packed], budget: int = SLICE
    ) -> tuple[bool, list[Command]]:
        """Apply inputs, run what is ready; whether more is ready, and the commands.

        Raises OutOfMemoryError when the VM is full; the machine is dead then.
        """
        more, commands = self.exchange(batch, budget)
        return more, decode_commands(commands)

    def exchange(self, batch: Sequence[Input | Packed], budget: int) -> tuple[bool, bytes]:
        """The same with the commands as they come out, for `decode_commands`."""
        # A push that goes over the limit outside a protected call aborts the process: the batch
        # is handed over without a limit, and run with one.
        self._receive(msgpack.packb(batch, unicode_errors="surrogateescape"))
        self._limit = self._cap
        self._limit_memory(self._cap)
        try:
            more, commands, self.live, dropped = self._run(budget)
        except LuaMemoryError as error:
            raise OutOfMemoryError(f"the VM grew past {self._cap} bytes") from error
        finally:
            self._limit = 0
            self._limit_memory(0)
        self.dropped += dropped
        return bool(more), commands

    def define(self, entries: Mapping[str, Definition], gone: Sequence[str] = ()) -> None:
        """Make entries runnable here, or replace them; forget those that are `gone`.

        What runs goes on with the code it began with.
        """
        self.step([inputs.define(as_maps(entries), gone)], 0)

    def inspect(self, entry: str) -> list[str] | None:
        """Check that an entry compiles and has its method, by running its chunk with nothing
        behind.

        Returns None when all is well, or cannot be told without running it for real; else the
        names of the functions that the source offers in place of the method.
        Raises PerdureError INVALID when the source does not compile.
        """
        names, problem = self._inspect(entry.encode())
        if problem is not None:
            raise PerdureError(Kind.INVALID, problem.decode(errors="replace"))
        if names is None:
            return None
        return [name for name in names.decode().split("\n") if name]

    def _limit_memory(self, limit: int) -> None:
        self._lua.set_max_memory(limit)

    @property
    def memory(self) -> int:
        """Bytes that the VM holds now, with what is garbage."""
        return int(self._lua.get_memory_used())

    def collect(self) -> None:
        """Collect all garbage: milliseconds for each 10 MB that are no garbage."""
        self._lua.gccollect()


#: Takes what the prelude needed away, and returns the three functions that Python calls.
_SEAL: Final = b"""
return function(S, pid_prefix)
  local format, serial = string.format, 0
  function S.new_pid()
    serial = serial + 1
    return format("%s%010x}", pid_prefix, serial)
  end
  local unsafe = { "python", "io", "os", "package", "debug", "dofile", "loadfile", "require" }
  for _, name in ipairs(unsafe) do
    _G[name] = nil
  end
  string.dump = nil
  local step, inspect, pending = S.step, S.inspect, nil
  return function(bytes) pending = bytes end,
    function(budget)
      local bytes = pending
      pending = nil
      return step(bytes, budget)
    end,
    inspect
end
"""


#: Takes a file of the prelude, compiled, and the shared table; gives what the file returns.
_LOAD: Final = b"""
local load = load
return function(code, S)
  local main, counter, look = load(code, nil, "b")()
  if counter then S.share(main, counter, look) end
  return main(S)
end
"""


@cache
def _prelude(counting: bool) -> list[tuple[str, bytes]]:
    """The prelude's files, compiled: loading them takes a tenth of the time of compiling them.

    Each gives its main chunk, and of one that is metered the names of its counter and look.
    """
    lua = LuaRuntime(encoding=None)
    dump = lua.execute(b"return string.dump")
    folder = resources.files("runtime.lua.prelude")
    files = []
    for name in PRELUDE:
        source = folder.joinpath(f"{name}.lua").read_bytes()
        code = b"return function(...) %b\nend" % source
        if counting and name not in UNMETERED:
            text, counter, look = metered(source)
            code = b"local %b,%b return function(...) %b\nend,'%b','%b'" % (
                counter, look, text, counter, look,
            )  # fmt: skip
        files.append((name, dump(lua.compile(code, b"=perdure:" + name.encode()))))
    return files


def encode_map(values: Mapping[str, Any]) -> bytes:
    """A map as inputs carry it (context, options)."""
    return encode(dict(values))
