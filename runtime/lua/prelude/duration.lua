-- Durations: objects, Go's notation for them, and what counts as one where a duration is wanted.
--
-- Needs: objects, errors, arguments.
-- S.new_duration(ns) -> Duration
-- S.is_duration(v) -> boolean
-- S.to_ns(v) -> integer of nanoseconds; or nil, err INVALID. v is a Duration, a number of nanoseconds
--     (a fraction is cut off) or text as of Go's time.ParseDuration, with "d" (24 h) and "w" (7 d) too.
-- S.time: the module `time`, returned too, which this file begins, locations continues and time completes.
--     Here: the constants NANOSECOND … HOUR in nanoseconds; parse_duration(v) -> Duration | nil, err.
--
-- Durations compare; they add and subtract anything that counts as one; a number multiplies or divides
-- them. tostring is Go's: "1h30m0s". Beyond 64 bits of nanoseconds (292 years) text is refused.
local S = ...
local own = S.own
local getmetatable = debug.getmetatable
local format, gsub, match, sub = string.format, string.gsub, string.match, string.sub
local math_type, maxinteger, mininteger, tointeger = math.type, math.maxinteger, math.mininteger, math.tointeger
local error, setmetatable, tonumber, type = error, setmetatable, tonumber, type

local MICROSECOND, MILLISECOND, SECOND = 1000, 1000000, 1000000000
local MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
local UNITS = {
  ns = 1,
  us = MICROSECOND,
  ["\u{b5}s"] = MICROSECOND, -- the micro sign
  ["\u{3bc}s"] = MICROSECOND, -- the Greek letter
  ms = MILLISECOND,
  s = SECOND,
  m = MINUTE,
  h = HOUR,
  d = 24 * HOUR,
  w = 168 * HOUR,
}

local NS = {}
local methods = {}
local mt = S.own_type("duration", { __index = methods })

local function new(ns)
  return setmetatable({ [NS] = ns }, mt)
end
S.new_duration = new

local function is_duration(v)
  return type(v) == "table" and own[getmetatable(v)] == "duration"
end
S.is_duration = is_duration

-- Text --------------------------------------------------------------------------------------------

-- Nanoseconds of "12.5" units, or nil when that is more than an integer holds. The fraction is taken
-- in floating point like Go's, so that a third of an hour is 20 minutes.
local function amount(whole, fraction, unit)
  local number = whole == "" and 0 or tointeger(tonumber(whole))
  if not number or number > maxinteger // unit then
    return nil
  end
  local digits = tonumber(sub(fraction, 1, 19)) or 0
  local scale = 10.0 ^ (#fraction < 19 and #fraction or 19)
  local ns = number * unit + tointeger(digits * (unit / scale) // 1)
  return ns >= 0 and ns or nil
end

local function parse(text)
  local sign, rest = match(text, "^([-+]?)(.*)$")
  if rest == "0" then
    return 0
  elseif not rest or rest == "" then
    return nil
  end
  local total = 0
  while rest ~= "" do
    local whole, dot, fraction, unit, after = match(rest, "^(%d*)(%.?)(%d*)([^%d%.]+)(.*)$")
    local size = whole and UNITS[unit]
    if not size or whole == "" and fraction == "" or dot == "" and fraction ~= "" then
      return nil
    end
    local ns = amount(whole, fraction, size)
    if not ns or total > maxinteger - ns then
      return nil
    end
    total, rest = total + ns, after
  end
  return sign == "-" and -total or total
end

local function without_zeros(digits)
  local kept = gsub(digits, "0+$", "")
  return kept == "" and "" or "." .. kept
end

-- As Go's Duration.String: the largest unit first, below a second the unit that fits.
local function text(ns)
  if ns == 0 then
    return "0s"
  elseif ns == mininteger then
    return "-2562047h47m16.854775808s"
  elseif ns < 0 then
    return "-" .. text(-ns)
  elseif ns < MICROSECOND then
    return ns .. "ns"
  elseif ns < MILLISECOND then
    return ns // MICROSECOND .. without_zeros(format("%03d", ns % MICROSECOND)) .. "\u{b5}s"
  elseif ns < SECOND then
    return ns // MILLISECOND .. without_zeros(format("%06d", ns % MILLISECOND)) .. "ms"
  end
  local hours, minutes = ns // HOUR, ns // MINUTE % 60
  local seconds = ns // SECOND % 60 .. without_zeros(format("%09d", ns % SECOND)) .. "s"
  if hours > 0 then
    return hours .. "h" .. minutes .. "m" .. seconds
  elseif minutes > 0 then
    return minutes .. "m" .. seconds
  end
  return seconds
end

-- What counts as a duration ---------------------------------------------------------------------

local WANTED = 'a duration such as "1h30m", "500ms" or "7d", a number of nanoseconds or a Duration'

local function to_ns(v)
  local kind = type(v)
  local ns
  if kind == "number" then
    ns = math_type(v) == "integer" and v or v == v and tointeger(v >= 0 and v // 1 or -(-v // 1))
  elseif kind == "string" then
    ns = parse(v)
  elseif is_duration(v) then
    ns = v[NS]
  end
  if ns then
    return ns
  end
  return nil, S.new_error("Invalid", S.show(v) .. " is not " .. WANTED)
end
S.to_ns = to_ns

-- Methods ---------------------------------------------------------------------------------------

local function ns_of(self, name)
  if not is_duration(self) then
    error(S.new_error("Invalid", name .. " is a method of durations: call it as d:" .. name .. "()"), 0)
  end
  return self[NS]
end

-- Towards zero, like Go.
local function divided(ns, unit)
  return ns >= 0 and ns // unit or -(-ns // unit)
end

function methods.nanoseconds(self)
  return ns_of(self, "nanoseconds")
end

function methods.microseconds(self)
  return divided(ns_of(self, "microseconds"), MICROSECOND)
end

function methods.milliseconds(self)
  return divided(ns_of(self, "milliseconds"), MILLISECOND)
end

function methods.seconds(self)
  return ns_of(self, "seconds") / SECOND
end

function methods.minutes(self)
  return ns_of(self, "minutes") / MINUTE
end

function methods.hours(self)
  return ns_of(self, "hours") / HOUR
end

function mt.__tostring(d)
  return text(d[NS])
end

-- Operands of an operator, in nanoseconds.
local function operands(a, b)
  local left, err = to_ns(a)
  local right
  if left then
    right, err = to_ns(b)
  end
  if err then
    error(err, 0)
  end
  return left, right
end

function mt.__eq(a, b)
  return is_duration(a) and is_duration(b) and a[NS] == b[NS]
end

function mt.__lt(a, b)
  a, b = operands(a, b)
  return a < b
end

function mt.__le(a, b)
  a, b = operands(a, b)
  return a <= b
end

function mt.__add(a, b)
  if S.is_time and S.is_time(b) then
    return b + a
  end
  a, b = operands(a, b)
  return new(a + b)
end

function mt.__sub(a, b)
  a, b = operands(a, b)
  return new(a - b)
end

function mt.__unm(a)
  return new(-a[NS])
end

local function scaled(number)
  local ns, err = to_ns(number)
  if err then
    error(err, 0)
  end
  return new(ns)
end

function mt.__mul(a, b)
  if is_duration(b) then
    a, b = b, a
  end
  if type(b) ~= "number" then
    error(S.bad_argument("duration *", "the factor", "a number", b), 0)
  end
  return scaled(a[NS] * b)
end

-- A Duration by a number; by another Duration, how often that fits.
function mt.__div(a, b)
  if is_duration(a) and is_duration(b) then
    return a[NS] / b[NS]
  elseif type(b) ~= "number" or not is_duration(a) then
    error(S.bad_argument("duration /", "the divisor", "a number or a duration", b), 0)
  end
  return scaled(a[NS] / b)
end

function mt.__newindex()
  error(S.new_error("Invalid", "a duration cannot be changed"), 0)
end

local time = {
  NANOSECOND = 1,
  MICROSECOND = MICROSECOND,
  MILLISECOND = MILLISECOND,
  SECOND = SECOND,
  MINUTE = MINUTE,
  HOUR = HOUR,
}
S.time = time

function time.parse_duration(v)
  local ns, err = to_ns(v)
  if not ns then
    return nil, S.new_error("Invalid", "time.parse_duration: " .. err:message())
  end
  return new(ns)
end

return time
