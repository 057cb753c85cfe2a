"""The library files of the prelude look up no global once they are loaded.

Globals are taken away or replaced afterwards, and users must not be able to reach into the runtime.
"""

from __future__ import annotations

from tests.prelude_lab import CODEC, Lab

FILES = (
    *("objects", "errors", "arguments", *CODEC, "matcher", "pattern_cost", "patterns", "bounds"),
    *("duration", "calendar", "locations", "layout", "time_format", "time_parse", "time"),
    *("json", "uuid"),
)


def test_no_function_has_the_globals_at_hand() -> None:
    lab = Lab(*FILES)
    found = lab.run(
        """
        local seen, found = {}, {}
        local function walk(v)
          if seen[v] or v == _G or v == _ENV then return end
          seen[v] = true
          if type(v) == "table" then
            walk(debug.getmetatable(v) or 0)
            for k, item in next, v do
              if type(k) == "table" or type(k) == "function" then walk(k) end
              walk(item)
            end
          elseif type(v) == "function" then
            local info, i = debug.getinfo(v, "S"), 1
            while debug.getupvalue(v, i) do
              local name, value = debug.getupvalue(v, i)
              if name == "_ENV" then
                found[#found + 1] = info.source .. ":" .. info.linedefined
              else
                walk(value == nil and 0 or value)
              end
              i = i + 1
            end
          end
        end
        for _, root in ipairs{S, ...} do walk(root) end
        return table.concat(found, " ")""",
        *[lab.lua.globals()[name.encode()] for name in FILES if lab.lua.globals()[name.encode()]],
    )
    assert found == b""
