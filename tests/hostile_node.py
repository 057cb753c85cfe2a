"""Runs hostile programs in a machine: `python -m tests.hostile_node FIRST COUNT`.

Says on its output, a line each, which program it begins ("begin 7") and which it is done with
("done 7 0.123", CPU seconds), so that whoever started it knows what it died or hangs of. Raises
when a program got hold of what it must not, or when a neighbour in the VM suffered.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any

from runtime import commands as c
from runtime import inputs
from runtime.codec import encode, encode_args
from runtime.errors import Kind, PerdureError
from runtime.inputs import Input
from runtime.lua import bridge, machine
from runtime.lua.machine import OutOfMemoryError
from tests.hostile_lua import Generator
from tests.machine_harness import Node, Run, entry

#: Programs that share a VM.
SHARED = 10
#: Turns of the machine that an attack gets at a time.
SLICES = 5
LEAKS: list[str] = []

#: Gives user code `probe`, before the machine takes what it needs away.
PROBING_SEAL = b"""
local seal = (function() %s end)()
local debug, next, type, rawequal, rawget = debug, next, type, rawequal, rawget
local real_metatable, find = debug.getmetatable, string.find
local forbidden = {[_G] = "_G", [debug.getregistry()] = "the registry", [debug] = "debug"}
local function forbid(library, names)
  for name in names:gmatch("%%S+") do forbidden[_G[library][name]] = library .. "." .. name end
end
for _, library in ipairs{"io", "package", "debug"} do
  forbidden[_G[library]] = library
  for name, f in pairs(_G[library]) do
    if type(f) == "function" then forbidden[f] = library .. "." .. name end
  end
end
forbid("_G", "load loadfile dofile require next rawget rawset rawlen setmetatable pcall xpcall "
  .. "type collectgarbage string table coroutine os math utf8 print")
forbid("os", "execute exit getenv remove rename tmpname setlocale time date")
forbid("string", "dump rep find match gmatch gsub format pack byte")
forbid("table", "concat insert move remove sort unpack")
forbid("coroutine", "create wrap resume close yield running")
return function(S, prefix)
  forbidden[S] = "S"
  forbidden[S.slots] = "S.slots"
  forbidden[S.globals], forbidden[S.durable_globals] = "S.globals", "S.durable_globals"
  for name, value in next, S do
    local kind = type(value)
    if kind == "table" and not S.own_name(value) then forbidden[value] = "S." .. name end
  end
  local function look(v, seen, depth)
    local kind, slot = type(v), S.current
    if kind == "nil" or kind == "number" or seen[v] or depth > 4 or seen.n > 300 then return end
    seen[v], seen.n = true, seen.n + 1
    if kind == "userdata" then S.leak("a userdata") end
    if forbidden[v] then S.leak(forbidden[v]) end
    if kind == "table" then
      if slot and (rawequal(v, slot) or rawequal(v, slot.proto)) then S.leak("a slot") end
      if S.own_name(v) then return end
      local mt = real_metatable(v)
      if mt and rawget(mt, "__metatable") == nil then look(mt, seen, depth + 1) end
      for key, item in next, v do
        look(key, seen, depth + 1)
        look(item, seen, depth + 1)
      end
    end
  end
  local function probe(...)
    local count = select("#", ...)
    for i = 1, count do look((select(i, ...)), {n = 0}, 0) end
  end
  for _, globals in next, {S.globals, S.durable_globals} do
    globals.probe = probe
    globals.keep = function(v) probe(v) return v end
  end
  return seal(S, prefix)
end
""" % machine._SEAL.replace(b"%", b"%%").replace(b"%%", b"%")

REFUSAL = PerdureError(Kind.NOT_FOUND, "none", details={"pid": "{x|1}"})
PIDS: list[Any] = ["{app:other|0x1}", REFUSAL]
VALUES: list[Any] = [True, None, "text", b"\xff", 5, [1, None, {"a": []}], {}, REFUSAL]

NEIGHBOUR = """
    local inbox = process.inbox()
    while true do
      local msg = inbox:receive()
      process.send(msg:from(), "pong", msg:payload():data())
    end
"""
FUNCTION = "return {main = function(...) probe(...) return ... end}"
SURFACE = """
    local names, seen = {}, {}
    local function add(path, value, depth)
      if type(value) == "function" then names[#names + 1] = path end
      if type(value) ~= "table" or seen[value] or depth > 2 then return end
      seen[value] = true
      for name, item in pairs(value) do
        if type(name) == "string" then add(path .. "." .. name, item, depth + 1) end
      end
    end
    for _, name in ipairs{...} do add(name, _G[name], 0) end
    return names
"""
GLOBALS = (
    "assert", "boolean", "channel", "collectgarbage", "coroutine", "error", "errors",
    "getmetatable", "integer", "ipairs", "load", "math", "next", "number", "os", "pairs", "pcall",
    "print", "process", "rawequal", "rawget", "rawlen", "rawset", "require", "select",
    "setmetatable", "string", "table", "tonumber", "tostring", "type", "unpack", "utf8", "xpcall",
)  # fmt: skip


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def leak(what: bytes) -> None:
    LEAKS.append(what.decode())


def fresh() -> tuple[Node, str]:
    """A node with a neighbour, and its PID."""
    node = Node(
        {"neighbour": NEIGHBOUR, "fn": entry(FUNCTION, "function.lua", method="main")},
        fuel=2_000_000,
        memory=24 << 20,
    )
    neighbour = node.start("neighbour")
    node.step()
    return node, neighbour


def surface() -> list[str]:
    """All functions that user code can name."""
    node, _ = fresh()
    definition = entry(SURFACE)
    node.machine.define({"app:surface": definition})
    found = node.run("surface", *GLOBALS, *definition.modules)
    return [*sorted(found), "string", "number"]


def replies(commands: list[c.Command], dice: random.Random) -> list[Input]:
    """Answers of the kinds that hosts give, not those that the code hoped for."""
    batch: list[Input] = []
    for command in commands:
        pid, seq = getattr(command, "pid", None), getattr(command, "seq", None)
        if isinstance(pid, str) and isinstance(seq, int) and dice.random() < 0.8:
            values = PIDS if isinstance(command, c.Spawn | c.Name | c.Control) else VALUES
            value = dice.choice(values)
            ok = not isinstance(value, PerdureError)
            batch.append(inputs.answer(pid, seq, ok, encode(value)))
    return batch


def step(node: Node, batch: list[Input]) -> list[c.Command]:
    """Run for a while: who keeps going from turn to turn may do so for ever, beside others."""
    commands: list[c.Command] = []
    for _ in range(SLICES):
        more, further = node.machine.step(batch)
        commands += further
        batch = []
        if not more:
            break
    return commands


def attack(node: Node, seed: int, names: list[str]) -> None:
    dice = random.Random(seed)
    source = Generator(seed, names).program()
    kind = dice.choice(["process.lua", "process.lua", "function.lua"])
    node.machine.define({"app:main": entry(source, kind)})
    node.start("main", "argument")
    commands = step(node, [])
    for _ in range(4):
        commands = step(node, replies(commands, dice)[:50])


def attack_as_workflow(seed: int, names: list[str]) -> None:
    Run(Generator(seed, names).program(), fuel=2_000_000, memory=24 << 20).step()


def check(node: Node, neighbour: str) -> None:
    ping = inputs.message(neighbour, "ping", "{test|1}", encode_args([1]))
    pongs = [x for x in step(node, [ping]) if isinstance(x, c.Send) and x.pid == neighbour]
    assert len(pongs) == 1, "the neighbour does not answer"
    step(node, [inputs.answer(neighbour, pongs[0].seq, True, encode(True))])


def main() -> None:
    machine._SEAL = PROBING_SEAL  # type: ignore[misc]
    bridge.FUNCTIONS["leak"] = leak
    names = surface()
    assert len(names) > 150, names
    first, count = int(sys.argv[1]), int(sys.argv[2])
    node, neighbour = fresh()
    for seed in range(first, first + count):
        say("begin", seed)
        began = time.thread_time()
        try:
            if seed % 4 == 3:
                attack_as_workflow(seed, names)
            else:
                attack(node, seed, names)
                check(node, neighbour)
        except OutOfMemoryError:
            node, neighbour = fresh()
        assert not LEAKS, f"program {seed} got {LEAKS}"
        say("done", seed, round(time.thread_time() - began, 3))
        if seed % SHARED == 0:
            node, neighbour = fresh()


if __name__ == "__main__":
    main()
