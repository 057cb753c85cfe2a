-- Compiling sources that may be typed: types are erased first (runtime/lua/types, in Python).
--
-- S.load(source, name, lasting) -> function, nil, plain | nil, message     without globals, to see that it compiles
--     `plain` is the source without its types. A lasting one is that of an entry: VMs share what was erased, and
--     the slot that happens to run pays nothing for it.
local S = ...
local getinfo, load, find = debug.getinfo, load, string.find

local ERASE_COST <const> = 6 -- instructions a byte; what it took is charged besides, but only afterwards

function S.load(source, name, lasting)
  local f, err = load(source, name, "t", {})
  -- All that types add is no Lua, but for casts such as `x as {T}`, which calls a function `as`.
  if f and not find(source, "%f[%w_]as%f[^%w_]") then return f, nil, source end
  if not lasting then S.charge(ERASE_COST * #source) end
  local plain, problem = S.erase(source, lasting)
  if not plain then return nil, getinfo(load("", name, "t"), "S").short_src .. ":" .. problem end
  if plain == source then return f, err, source end
  f, err = load(plain, name, "t", {})
  return f, err, plain
end
