-- The Python functions that the prelude calls: S.entropy, S.zone_offset, S.digest and the others of bridge.py.
--
-- Each answers true and its results, or false with the kind and the message of an error, which is raised here. No
-- Python object ever gets here. An answer comes without a memory limit, S.restore_limit() puts it back.
--
-- S.bridge: {name = function}, taken away here.
local S = ...
local error, pairs = error, pairs
local restore_limit = S.restore_limit

local function settle(ok, a, b, c)
  restore_limit()
  if ok then return a, b, c end
  return error(S.new_error(a, b), 0)
end

for name, f in pairs(S.bridge) do
  S[name] = function(...) return settle(f(...)) end
end
S.bridge = nil
