"""What Lua code can call, read off the tables that the prelude makes."""

from __future__ import annotations

from pathlib import Path

import runtime.lua.prelude
from runtime.lua.bridge import FUNCTIONS, guarded
from runtime.lua.machine import MODULE_FILES, PRELUDE
from tests.prelude_lab import Lab

FOLDER = Path(runtime.lua.prelude.__path__[0])

_LIST = """
local names = {}
local function add(prefix, t)
  for name, value in next, t do
    if type(name) == "string" and not name:find("^__") then
      if type(value) == "function" then
        names[#names + 1] = prefix .. name
      elseif type(value) == "table" and not S.own_name(value) then
        add(prefix .. name .. ".", value)
      end
    end
  end
end
for name, module in next, S.modules do add(name .. ".", module) end
for name, library in next, S.libraries do add(name .. ".", library) end
add("", S.globals)
for mt, name in next, S.own do
  if type(mt.__index) == "table" then
    for method, f in next, mt.__index do
      if type(f) == "function" then names[#names + 1] = name .. ":" .. method end
    end
  end
end
return table.concat(names, "\\n")
"""


def prelude() -> Lab:
    """The whole prelude, loaded without a machine around it."""
    lab = Lab(wall=lambda: 0, restore_limit=lambda: None)
    shared = lab.shared
    shared[b"bridge"] = lab.lua.table_from(
        {name.encode(): guarded(f, lambda: None) for name, f in FUNCTIONS.items()}
    )
    for name in (b"modules", b"process"):
        shared[name] = lab.lua.table()
    shared[b"host"] = b"app:processes"
    shared[b"fuel"] = 1000
    shared[b"memory_limit"] = 1000
    for file in PRELUDE:
        source = (FOLDER / f"{file}.lua").read_bytes()
        exports = lab.lua.compile(source, f"=perdure:{file}".encode())(shared)
        if exports is not None:
            home = shared[b"modules"] if file in MODULE_FILES else shared
            home[file.encode()] = exports
    return lab


def surface() -> set[str]:
    """Names of functions: `tostring`, `time.now`, `crypto.random.bytes`, `time:format` (a method).

    The callable constants of a module (`time.utc`) are objects, and not among them; `load` and
    `require`, of which each piece of code gets its own, are.
    """
    names = prelude().run(_LIST)
    return {
        *names.decode().split("\n"),
        "load",
        "require",
    }  # which each piece of code gets its own of
