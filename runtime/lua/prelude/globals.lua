-- The global functions of user code: the safe ones of Lua, and what replaces the rest.
local S = ...
local raw_type, raw_tostring, raw_pairs, raw_next, error = type, tostring, pairs, next, error
local rawget, rawset, rawlen, select, tonumber = rawget, rawset, rawlen, select, tonumber
local raw_setmetatable, real_metatable = setmetatable, debug.getmetatable
local collect = collectgarbage
local concat, tointeger = table.concat, math.tointeger
local own_name = S.own_name

local globals = {
  assert = assert,
  error = error,
  getmetatable = getmetatable,
  ipairs = ipairs,
  pcall = S.pcall,
  rawequal = rawequal,
  select = select,
  tonumber = tonumber,
  xpcall = S.xpcall,
  _VERSION = _VERSION,
}
S.globals = globals

-- Types -------------------------------------------------------------------------------------------

function globals.type(...)
  local value = ...
  if value == nil and select("#", ...) == 0 then error("bad argument #1 to 'type' (value expected)", 2) end
  local kind = raw_type(value)
  if kind == "table" and own_name(value) then return "userdata" end
  return kind
end

function globals.tostring(value) return raw_tostring(value) end

-- Without addresses, which differ from run to run.
function S.durable_tostring(value)
  local kind = raw_type(value)
  if kind == "function" or kind == "thread" then return kind end
  if kind == "table" then
    local mt = real_metatable(value)
    if not (mt and mt.__tostring) then
      local name = mt and rawget(mt, "__name")
      return raw_type(name) == "string" and name or "table"
    end
  end
  return raw_tostring(value)
end

-- tostring as the running slot has it.
function S.tostring(value)
  local slot = S.current
  if slot and slot.durable then return S.durable_tostring(value) end
  return raw_tostring(value)
end

function globals.integer(value)
  local number = tonumber(value)
  local whole = number and (tointeger(number) or tointeger(number >= 0 and number // 1 or -(-number // 1)))
  if not whole then return S.raise("Invalid", "integer: " .. S.show(value) .. " is no whole number") end
  return whole
end

function globals.number(value)
  local number = tonumber(value)
  if not number then return S.raise("Invalid", "number: " .. S.show(value) .. " is no number") end
  return number
end

function globals.boolean(value) return not not value end

-- Tables ------------------------------------------------------------------------------------------

local function check_table(where, t)
  if raw_type(t) ~= "table" or own_name(t) then
    error("bad argument #1 to '" .. where .. "' (table expected, got " .. (own_name(t) or raw_type(t)) .. ")", 3)
  end
end

-- Also what pairs hands out: with Lua's own, whoever takes it from a loop could open our objects. Most tables have no
-- metatable, and what is no table raw_next refuses.
function globals.next(t, key)
  if real_metatable(t) then check_table("next", t) end
  return raw_next(t, key)
end
local safe_next = globals.next

-- pairs for the tables that `plain` is for; those with a __pairs of their own go by that.
local function pairs_with(plain)
  return function(t)
    local mt = real_metatable(t)
    if mt and mt.__pairs and not own_name(t) then return raw_pairs(t) end
    check_table("pairs", t)
    return plain(t)
  end
end

globals.pairs = pairs_with(function(t) return safe_next, t, nil end)

function globals.rawget(t, key)
  check_table("rawget", t)
  return rawget(t, key)
end

function globals.rawset(t, key, value)
  check_table("rawset", t)
  return rawset(t, key, value)
end

function globals.rawlen(t)
  if raw_type(t) ~= "string" then check_table("rawlen", t) end
  return rawlen(t)
end

function globals.setmetatable(t, mt)
  if raw_type(mt) == "table" then
    if rawget(mt, "__gc") ~= nil then error("setmetatable: __gc is not available", 2) end
    if rawget(mt, "__mode") ~= nil and S.current.durable then
      error("setmetatable: weak tables are not available in a workflow, where what they hold would differ on replay", 2)
    end
  end
  return raw_setmetatable(t, mt)
end

-- Code --------------------------------------------------------------------------------------------

local MAX_PARTS <const> = 1000000
local PART_COST <const> = 10 -- instructions
local COMPILE_COST <const> = 4 -- instructions a byte

-- The text that a function gives piece by piece.
local function gather(pieces)
  local parts = {}
  for i = 1, MAX_PARTS do
    S.charge(PART_COST)
    local part = pieces()
    if part == nil or part == "" then break end
    parts[i] = part
  end
  return concat(parts)
end

-- `load` for code whose globals are `env`: text only, which may be typed.
function S.loader(env)
  return function(chunk, name, _, ...)
    if raw_type(chunk) == "function" then chunk = gather(chunk) end
    if raw_type(chunk) ~= "string" then
      error("bad argument #1 to 'load' (string expected, got " .. (own_name(chunk) or raw_type(chunk)) .. ")", 2)
    end
    S.charge(COMPILE_COST * #chunk)
    local own_env = env
    if select("#", ...) > 0 then own_env = ... end
    local compiled, err = S.compile(chunk, raw_type(name) == "string" and name or chunk, false)
    if not compiled then return nil, err end
    return compiled(own_env)
  end
end

function globals.print(...) return S.print(...) end

function globals.collectgarbage(option)
  if option == "count" then return collect("count") end
  return 0
end

-- In workflows ------------------------------------------------------------------------------------

S.durable_globals = S.merge(globals, {
  tostring = S.durable_tostring,
  next = S.durable_next,
  pairs = pairs_with(S.durable_pairs),
  collectgarbage = function() return 0 end,
})
