-- Compiling sources, so that they count what they do (runtime/lua/metering.py, in Python; see fuel.lua).
--
-- S.compile(source, name, lasting) -> function (globals) -> main chunk | nil, message
--     lasting: see S.load
local S = ...
local load, FUEL = load, S.fuel

local METER_COST <const> = 2 -- instructions a byte; what it took is charged besides, but only afterwards

local function wrap(source, name, names)
  local text = names .. "return function(_ENV) return function(...) " .. source .. "\nend end"
  local wrapped, err = load(text, name, "t", {})
  if not wrapped then return nil, err end
  return wrapped()
end

function S.compile(source, name, lasting)
  -- Alone first: a source that closes our wrapper and opens its own would compile inside it.
  local alone, err, plain = S.load(source, name, lasting)
  if not alone then return nil, err end
  if not FUEL then return wrap(plain, name, "") end
  if not lasting then S.charge(METER_COST * #plain) end
  local metered, counter, look = S.meter(plain, lasting)
  local f
  f, err = wrap(metered, name, "local " .. counter .. "," .. look .. " ")
  if not f then return nil, err end
  return S.share(f, counter, look)
end
