-- The globals of user code: the safe part of Lua's standard library, and what replaces the rest.
--
-- S.globals and S.libraries serve functions and processes, S.durable_globals and S.durable_libraries
-- workflows, where everything that differs from run to run is gone: the order of pairs, addresses in
-- tostring, the clock, the random seed. Libraries are shared by all slots of the VM and handed out as
-- proxies, so that a slot that writes into one changes only its own.
local S = ...
local rawtype, raw_tostring, raw_pairs, raw_next, error = type, tostring, pairs, next, error
local raw_pcall, raw_xpcall, rawget, rawset, rawlen, rawequal = pcall, xpcall, rawget, rawset, rawlen, rawequal
local raw_setmetatable, raw_getmetatable, get_real_metatable = setmetatable, getmetatable, debug.getmetatable
local raw_load, select, ipairs = load, select, ipairs
local resume, yield, running, create = coroutine.resume, coroutine.yield, coroutine.running, S.new_coroutine
local co_status, co_close, isyieldable = coroutine.status, coroutine.close, coroutine.isyieldable
local math_type, tointeger, format, sort, concat = math.type, math.tointeger, string.format, table.sort, table.concat
local collect, find, unpack = collectgarbage, string.find, table.unpack
local BLOCK, KILL, own_name = S.BLOCK, S.KILL, S.own_name
local OUT_OF_MEMORY <const> = "not enough memory"

local globals, libraries = {}, {}

-- A view of a shared library that the slot may write into.
local proxy_mts = {}
function S.proxy(library)
  local mt = proxy_mts[library]
  if not mt then
    mt = {
      __index = library,
      __metatable = false,
      __pairs = function(proxy)
        local merged = S.merge(library, nil)
        for key, value in raw_next, proxy do merged[key] = value end
        return raw_next, merged, nil
      end,
      __call = library.__call,
    }
    proxy_mts[library] = mt
  end
  return raw_setmetatable({}, mt)
end

-- errors ------------------------------------------------------------------------------------------

-- After a budget is gone nothing may catch the end of the process.
local function passed(ok, err, ...)
  if not ok then
    if err == KILL then error(KILL, 0) end
    if err == OUT_OF_MEMORY then
      S.current.killed = "out of memory"
      error(KILL, 0)
    end
  end
  return ok, err, ...
end

function globals.pcall(f, ...) return passed(raw_pcall(f, ...)) end

function globals.xpcall(f, handler, ...)
  return passed(raw_xpcall(f, function(err)
    -- A handler runs inside the hook that raised, where no hook can stop it.
    if err == KILL or err == OUT_OF_MEMORY then return err end
    return handler(err)
  end, ...))
end

globals.error = error
globals.assert = assert

-- types -------------------------------------------------------------------------------------------

function globals.type(...)
  if select("#", ...) == 0 then error("bad argument #1 to 'type' (value expected)", 2) end
  local value = (...)
  local kind = rawtype(value)
  if kind == "table" and own_name(value) then return "userdata" end
  return kind
end

function globals.tostring(value) return raw_tostring(value) end

-- Without addresses, which differ from run to run.
local function durable_tostring(value)
  local kind = rawtype(value)
  if kind == "function" or kind == "thread" then return kind end
  if kind == "table" then
    local mt = get_real_metatable(value)
    if not (mt and (mt.__tostring or mt.__name)) then return "table" end
    if not mt.__tostring then return mt.__name end
  end
  return raw_tostring(value)
end

function S.tostring(value)
  local slot = S.current
  if slot and slot.durable then return durable_tostring(value) end
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
globals.tonumber = tonumber
globals.select = select

globals._VERSION = _VERSION

-- tables ------------------------------------------------------------------------------------------

local function refuse(where, value)
  local name = rawtype(value) == "table" and own_name(value)
  if name then error("bad argument to '" .. where .. "' (table expected, got " .. name .. ")", 3) end
end

function globals.next(t, key)
  refuse("next", t)
  return raw_next(t, key)
end
function globals.pairs(t)
  refuse("pairs", t)
  local mt = get_real_metatable(t)
  if mt and mt.__pairs then return raw_pairs(t) end
  if rawtype(t) ~= "table" then error("bad argument #1 to 'pairs' (table expected, got " .. rawtype(t) .. ")", 2) end
  return raw_next, t, nil
end
globals.ipairs = ipairs
function globals.rawget(t, key)
  refuse("rawget", t)
  return rawget(t, key)
end
function globals.rawset(t, key, value)
  refuse("rawset", t)
  return rawset(t, key, value)
end
function globals.rawlen(t)
  refuse("rawlen", t)
  return rawlen(t)
end
globals.rawequal = rawequal

function globals.setmetatable(t, mt)
  if rawtype(mt) == "table" then
    if rawget(mt, "__gc") ~= nil then error("setmetatable: __gc is not available", 2) end
    local slot = S.current
    if slot.durable and rawget(mt, "__mode") ~= nil then
      error("setmetatable: weak tables are not available in a workflow, where what they hold would differ on replay", 2)
    end
  end
  return raw_setmetatable(t, mt)
end
globals.getmetatable = raw_getmetatable

-- Keys in an order that every run gives: numbers, strings, booleans.
local RANK = { number = 1, string = 2, boolean = 3 }
local function before(a, b)
  local rank_a, rank_b = RANK[rawtype(a)], RANK[rawtype(b)]
  if rank_a ~= rank_b then return rank_a < rank_b end
  if rank_a == 3 then return not a and b end
  return a < b
end

local function ordered_keys(t)
  local keys, count, foreign = {}, 0, nil
  for key in raw_next, t do
    if RANK[rawtype(key)] then
      count = count + 1
      keys[count] = key
    elseif foreign == nil then
      foreign = key
    else
      error("pairs: this table has two or more keys that are tables or functions; a workflow has no order for them that a replay would give again: use numbers, strings or booleans as keys", 3)
    end
  end
  sort(keys, before)
  if foreign ~= nil then keys[count + 1] = foreign end
  return keys
end

local function durable_pairs(t)
  refuse("pairs", t)
  local mt = get_real_metatable(t)
  if mt and mt.__pairs then return raw_pairs(t) end
  if rawtype(t) ~= "table" then error("bad argument #1 to 'pairs' (table expected, got " .. rawtype(t) .. ")", 2) end
  local keys, at = ordered_keys(t), 0
  return function()
    at = at + 1
    local key = keys[at]
    -- Keys that the loop removed are skipped, as with Lua's own.
    while key ~= nil and rawget(t, key) == nil do
      at = at + 1
      key = keys[at]
    end
    if key == nil then return nil end
    return key, rawget(t, key)
  end
end

-- next is stateless, so the order of the table it walks is kept from call to call.
local function durable_next(t, key)
  refuse("next", t)
  local slot = S.current
  local walk = slot.walk
  if key == nil or not walk or walk.table ~= t or walk.index[key] == nil then
    walk = { table = t, keys = ordered_keys(t), index = {} }
    for i, k in ipairs(walk.keys) do walk.index[k] = i end
    slot.walk = walk
    if key ~= nil and walk.index[key] == nil then error("invalid key to 'next'", 2) end
  end
  local at = key == nil and 1 or walk.index[key] + 1
  while walk.keys[at] ~= nil and rawget(t, walk.keys[at]) == nil do at = at + 1 end
  local found = walk.keys[at]
  if found == nil then
    slot.walk = nil
    return nil
  end
  return found, rawget(t, found)
end

-- code --------------------------------------------------------------------------------------------

-- `load` for code whose globals are `env`: text only.
function S.loader(env)
  return function(chunk, name, _, own_env)
    if rawtype(chunk) == "function" then
      local parts = {}
      for i = 1, 1000000 do
        local part = chunk()
        if part == nil or part == "" then break end
        parts[i] = part
      end
      chunk = concat(parts)
    end
    if rawtype(chunk) ~= "string" then
      error("bad argument #1 to 'load' (string expected, got " .. rawtype(chunk) .. ")", 2)
    end
    return raw_load(chunk, rawtype(name) == "string" and name or chunk, "t", own_env == nil and env or own_env)
  end
end

function globals.print(...) return S.print(...) end

function globals.collectgarbage(option)
  if option == "count" then return collect("count") end
  return 0
end

-- coroutines --------------------------------------------------------------------------------------

-- A coroutine that waits inside another one: the wait is the task's.
local function relay(co, ok, mark, ...)
  if ok then
    if mark == BLOCK then return relay(co, resume(co, yield(BLOCK))) end
    return true, mark, ...
  end
  if mark == KILL or mark == OUT_OF_MEMORY then return passed(false, mark) end
  return false, mark, ...
end

local function check_function(where, f)
  if rawtype(f) ~= "function" then
    error("bad argument #1 to '" .. where .. "' (function expected, got " .. rawtype(f) .. ")", 3)
  end
end

local function raise_failed(ok, ...)
  if ok then return ... end
  return error((...), 0)
end

libraries.coroutine = {
  create = function(f)
    check_function("create", f)
    return create(f)
  end,
  resume = function(co, ...) return relay(co, resume(co, ...)) end,
  wrap = function(f)
    check_function("wrap", f)
    local co = create(f)
    return function(...) return raise_failed(relay(co, resume(co, ...))) end
  end,
  yield = function(...)
    if running() == S.co then error("attempt to yield from outside a coroutine", 2) end
    return yield(...)
  end,
  status = co_status,
  isyieldable = isyieldable,
  running = running,
  close = function(co) return passed(co_close(co)) end,
  spawn = function(f, ...)
    check_function("spawn", f)
    if select("#", ...) == 0 then return S.spawn_task(f) end
    local arguments, count = { ... }, select("#", ...)
    return S.spawn_task(function() return f(unpack(arguments, 1, count)) end)
  end,
}

-- strings, tables, numbers ------------------------------------------------------------------------

-- Error objects may stand where a string is expected.
local function with_text(f)
  return function(text, ...)
    if S.is_error(text) then text = raw_tostring(text) end
    return f(text, ...)
  end
end

local strings = {}
for _, name in ipairs({ "byte", "len", "lower", "reverse", "sub", "upper", "pack", "unpack", "packsize" }) do
  strings[name] = with_text(string[name])
end
for name, f in raw_pairs(S.patterns) do strings[name] = with_text(f) end
strings.char = string.char
strings.__call = function(_, value) return S.tostring(value) end

local function text_arguments(...)
  local arguments = { ... }
  local count = select("#", ...)
  for i = 1, count do
    if S.is_error(arguments[i]) then arguments[i] = raw_tostring(arguments[i]) end
  end
  return unpack(arguments, 1, count)
end
strings.format = function(pattern, ...) return format(pattern, text_arguments(...)) end
libraries.string = strings

local tables = {}
for _, name in ipairs({ "insert", "remove", "pack" }) do tables[name] = table[name] end
for name, f in raw_pairs(S.bounds) do tables[name] = f end
for name, f in raw_pairs(tables) do
  if name ~= "pack" then
    tables[name] = function(t, ...)
      refuse("table." .. name, t)
      return f(t, ...)
    end
  end
end
strings.rep, tables.rep = S.bounds.rep, nil
tables.unpack = table.unpack
tables.create = function() return {} end
libraries.table = tables
globals.unpack = tables.unpack

local numbers = {}
for name, value in raw_pairs(math) do numbers[name] = value end
numbers.randomseed = function() end
libraries.math = numbers
libraries.utf8 = utf8

-- The clock of the machine ------------------------------------------------------------------------

local os_time, os_date, os_clock, difftime = os.time, os.date, os.clock, os.difftime
libraries.os = {
  time = function(t)
    if t == nil then return S.now() // 1000000000 end
    return os_time(t)
  end,
  date = function(pattern, at) return os_date(pattern, at or S.now() // 1000000000) end,
  clock = os_clock,
  difftime = difftime,
  platform = function() return "perdure" end,
}

-- Workflows ---------------------------------------------------------------------------------------

local durable_globals = S.merge(globals, {
  tostring = durable_tostring,
  pairs = durable_pairs,
  next = durable_next,
  collectgarbage = function() return 0 end,
})

local function utc(pattern)
  pattern = pattern or "%c"
  if pattern:sub(1, 1) ~= "!" then pattern = "!" .. pattern end
  return pattern
end

local durable_libraries = S.merge(libraries, {
  string = S.merge(strings, {
    format = function(pattern, ...)
      if find(raw_tostring(pattern), "%%[-+ #0-9.]*p") then
        error("string.format: %p shows an address, which would differ on replay", 2)
      end
      local arguments = { text_arguments(...) }
      local count = select("#", ...)
      for i = 1, count do
        local kind = rawtype(arguments[i])
        if kind == "table" or kind == "function" or kind == "thread" then
          arguments[i] = durable_tostring(arguments[i])
        end
      end
      return format(pattern, unpack(arguments, 1, count))
    end,
  }),
  math = S.merge(numbers, { random = S.durable_random }),
  -- In UTC: a replay on a machine in another time zone must see the same.
  os = S.merge(libraries.os, {
    time = function(t)
      if t == nil then return S.now() // 1000000000 end
      return S.utc_seconds(t)
    end,
    date = function(pattern, at) return os_date(utc(pattern), at or S.now() // 1000000000) end,
    clock = function() return (S.now() - S.current.started) / 1e9 end,
  }),
})

S.globals, S.libraries = globals, libraries
S.durable_globals, S.durable_libraries = durable_globals, durable_libraries

-- Methods of strings are those of the safe library, and nobody gets the table itself.
local string_mt = get_real_metatable("")
string_mt.__index = strings
string_mt.__metatable = false
