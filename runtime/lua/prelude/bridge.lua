-- The Python functions that the prelude calls: S.entropy, S.zone_offset, S.digest and the others of bridge.py.
--
-- Each answers true, what it cost in instructions and its results, or false, its cost, and kind and message of an
-- error, which is raised here. No Python object ever gets here. An answer comes without a memory limit,
-- S.restore_limit() puts it back.
--
-- S.bridge: {name = function}, taken away here.
-- S.attempt(where, f, …) -> value, nil | nil, err     a call of one of them on behalf of user code that called `where`
local S = ...
local error, pairs, pcall = error, pairs, pcall
local restore_limit = S.restore_limit

local function settle(ok, cost, a, b, c)
  restore_limit()
  S.charge(cost)
  if ok then return a, b, c end
  return error(S.new_error(a, b), 0)
end

function S.attempt(where, f, ...)
  local ok, value = pcall(f, ...)
  if ok then return value, nil end
  if not S.is_error(value) then error(value, 0) end -- not ours to swallow: the runtime's kill
  return nil, S.new_error(value:kind(), where .. ": " .. value:message())
end

for name, f in pairs(S.bridge) do
  S[name] = function(...) return settle(f(...)) end
end
S.bridge = nil
