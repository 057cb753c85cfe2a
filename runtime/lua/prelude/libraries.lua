-- The libraries string, table, math, utf8 and os of user code.
--
-- S.libraries serves functions and processes; S.durable_libraries workflows, where everything that differs
-- from run to run is gone. Work that C does is charged by size.
local S = ...
local raw_type, raw_tostring, raw_next, error, select = type, tostring, next, error, select
local find, format, gmatch, pack, sub = string.find, string.format, string.gmatch, string.pack, string.sub
local unpack, rawlen = table.unpack, rawlen
local math_type, tointeger, tonumber = math.type, math.tointeger, tonumber
local charge, is_error = S.charge, S.is_error
local os_time, os_date = os.time, os.date

local LONG <const> = 4096 -- bytes or elements from which on work is charged
local MAX_TEXT <const> = 64 * 1024 * 1024
local MAX_RESULTS <const> = 100000 -- of unpack: the stack has room for a million values, of all calls together

-- string ------------------------------------------------------------------------------------------

-- Error objects may stand where a string is expected.
local function text_of(value)
  if is_error(value) then return raw_tostring(value) end
  return value
end

-- A function of a text and at most two more arguments.
local function of_text(f)
  return function(text, a, b)
    if raw_type(text) ~= "string" then
      text = text_of(text)
    elseif #text > LONG then
      charge(#text // 16)
    end
    return f(text, a, b)
  end
end

local function with_text(f)
  return function(text, ...)
    if raw_type(text) ~= "string" then text = text_of(text) end
    return f(text, ...)
  end
end

local function charge_result(text, ...)
  if #text > LONG then charge(#text // 16) end
  return text, ...
end

local strings = {
  char = string.char,
  unpack = string.unpack,
  packsize = string.packsize,
  __call = function(_, value) return S.tostring(value) end, -- the cast string(x)
}
for _, name in raw_next, { "byte", "len", "lower", "reverse", "sub", "upper" } do strings[name] = of_text(string[name]) end
for name, f in raw_next, S.patterns do strings[name] = with_text(f) end

function strings.rep(text, count, separator) return charge_result(S.bounds.rep(text_of(text), count, separator)) end

function strings.pack(pattern, ...)
  local size = 0
  for digits in gmatch(raw_tostring(pattern), "c(%d+)") do size = size + tonumber(digits) end
  if size > MAX_TEXT then error("string.pack: a result of more than 64 MiB", 2) end
  return charge_result(pack(pattern, ...))
end

-- One function for workflows too, since methods of strings are the same for all slots.
function strings.format(pattern, ...)
  pattern = raw_tostring(pattern)
  if S.current.durable and find(pattern, "%%[-+ #0-9.]*p") then
    error("string.format: %p shows an address, which would differ on replay", 2)
  end
  local arguments, count = { ... }, select("#", ...)
  for i = 1, count do
    local kind = raw_type(arguments[i])
    if kind == "table" or kind == "function" or kind == "thread" then arguments[i] = S.tostring(arguments[i]) end
  end
  return charge_result(format(pattern, unpack(arguments, 1, count)))
end

-- table -------------------------------------------------------------------------------------------

local bounds = S.bounds
local tables = {
  concat = function(t, ...) return charge_result(bounds.concat(t, ...)) end,
  create = function() return {} end,
  insert = function(t, ...)
    if select("#", ...) > 1 and raw_type(t) == "table" and rawlen(t) > LONG then charge(rawlen(t) // 2) end
    return bounds.insert(t, ...)
  end,
  move = function(from, first, last, ...)
    if math_type(first) and math_type(last) and last - first > LONG then charge(last - first) end
    return bounds.move(from, first, last, ...)
  end,
  pack = table.pack,
  remove = function(t, ...)
    if select("#", ...) > 0 and raw_type(t) == "table" and rawlen(t) > LONG then charge(rawlen(t) // 2) end
    return bounds.remove(t, ...)
  end,
  sort = bounds.sort,
}

function tables.unpack(t, first, last)
  if S.own_name(t) then error("bad argument #1 to 'unpack' (table expected, got " .. S.own_name(t) .. ")", 2) end
  local size = (math_type(last) and last or raw_type(t) == "table" and rawlen(t) or 0) - (math_type(first) and first or 1)
  if size > MAX_RESULTS then error("too many results to unpack", 2) end
  if size > LONG then charge(size) end
  return unpack(t, first, last)
end

S.globals.unpack = tables.unpack
S.durable_globals.unpack = tables.unpack

-- The others --------------------------------------------------------------------------------------

local numbers = S.merge(math, { randomseed = function() end })

local utf8s = S.merge(utf8, nil)
for _, name in raw_next, { "len", "codes", "offset", "codepoint" } do
  local f = utf8[name]
  utf8s[name] = function(text, ...)
    if raw_type(text) == "string" and #text > LONG then charge(#text // 4) end
    return f(text, ...)
  end
end

local function seconds() return S.now() // 1000000000 end

local function clock_time(t)
  if t == nil then return seconds() end
  return os_time(t)
end

local oses = {
  time = clock_time,
  date = function(pattern, at) return os_date(pattern, at or seconds()) end,
  clock = os.clock,
  difftime = os.difftime,
  platform = function() return "perdure" end,
}

S.libraries = {
  coroutine = S.coroutine_library, string = strings, table = tables, math = numbers, utf8 = utf8s, os = oses,
}

-- In workflows ------------------------------------------------------------------------------------

-- os.time of a table in UTC: a replay on a machine in another time zone must see the same.
local function utc_time(t)
  if t == nil then return seconds() end
  if raw_type(t) ~= "table" then error("bad argument #1 to 'time' (table expected, got " .. raw_type(t) .. ")", 2) end
  local function field(name, default)
    local value = t[name]
    if value == nil then value = default end
    local number = tonumber(value)
    local whole = number and tointeger(number)
    if not whole then error("field '" .. name .. "' " .. (value == nil and "missing in date table" or "is not an integer"), 3) end
    return whole
  end
  local days = S.days_from_civil(field("year"), field("month"), field("day"))
  return days * 86400 + field("hour", 12) * 3600 + field("min", 0) * 60 + field("sec", 0)
end

S.durable_libraries = S.merge(S.libraries, {
  math = S.merge(numbers, { random = S.durable_random }),
  os = S.merge(oses, {
    time = utc_time,
    date = function(pattern, at)
      pattern = pattern == nil and "%c" or raw_tostring(pattern)
      if sub(pattern, 1, 1) ~= "!" then pattern = "!" .. pattern end
      return os_date(pattern, at or seconds())
    end,
    clock = function() return (S.now() - S.current.started) / 1e9 end,
  }),
})

-- Methods of strings are those of the safe library, and nobody gets the table itself.
local string_mt = debug.getmetatable("")
string_mt.__index = strings
string_mt.__metatable = false
