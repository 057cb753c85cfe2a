-- Times and the module `time`: everything that does not wait.
--
-- A Time is a moment (seconds since 1970 and nanoseconds, so that years 0 … 9999 and more fit) and the
-- location that its clock is read in. Times made without a location are in UTC.
--
-- Needs: objects, errors, arguments, duration, calendar, locations, layout, time_format, time_parse.
-- Hook S.now() -> nanoseconds since 1970.
-- S.new_time(ns) -> Time in UTC. S.is_time(v) -> boolean.
-- Returns the module, S.time. Functions and methods answer a wrong argument with nil, err INVALID; operators and
-- methods called without their object raise it.
local S = ...
local own = S.own
local getmetatable = debug.getmetatable
local math_type, maxinteger, mininteger = math.type, math.maxinteger, math.mininteger
local upper = string.upper
local error, setmetatable, type = error, setmetatable, type
local to_ns, new_duration, offset_at = S.to_ns, S.new_duration, S.offset_at
local is_location, utc = S.is_location, S.utc

local SECOND = 1000000000
local YEAR_1 = S.days_from_civil(1, 1, 1) * 86400 -- Go's zero time
local RFC3339 = "2006-01-02T15:04:05Z07:00"

local SECONDS, NANOS, LOCATION = {}, {}, {}
local methods = {}
local mt = S.own_type("time", { __index = methods })

local function new(seconds, nanos, location)
  return setmetatable({ [SECONDS] = seconds, [NANOS] = nanos, [LOCATION] = location }, mt)
end

function S.new_time(ns)
  return new(ns // SECOND, ns % SECOND, utc)
end

local function is_time(v)
  return type(v) == "table" and own[getmetatable(v)] == "time"
end
S.is_time = is_time

local function check(self, name)
  if not is_time(self) then
    error(S.new_error("Invalid", name .. " is a method of times: call it as t:" .. name .. "()"), 0)
  end
  return self
end

-- A time `ns` later.
local function later(t, ns)
  local nanos = t[NANOS] + ns % SECOND
  return new(t[SECONDS] + ns // SECOND + nanos // SECOND, nanos % SECOND, t[LOCATION])
end

-- Nanoseconds from b to a, at most what an integer holds, like Go's Sub.
local function between(a, b)
  local seconds, nanos = a[SECONDS] - b[SECONDS], a[NANOS] - b[NANOS]
  if seconds > 9223372035 then
    return maxinteger
  elseif seconds < -9223372035 then
    return mininteger
  end
  return seconds * SECOND + nanos
end

local function from_civil(year, month, day, clock, nanos, location)
  clock = clock + nanos // SECOND
  local civil = S.days_from_civil(year, month, day) * 86400 + clock
  return new(civil - S.offset_of_civil(location, civil), nanos % SECOND, location)
end

-- Seconds that the clock of t shows, as if it were UTC.
local function civil_seconds(t)
  return t[SECONDS] + offset_at(t[LOCATION], t[SECONDS])
end

-- Arithmetic and comparison -----------------------------------------------------------------------

function methods.add(self, duration)
  check(self, "add")
  local ns, err = to_ns(duration)
  if not ns then
    return nil, S.error_in("time:add", err)
  end
  return later(self, ns)
end

function methods.sub(self, other)
  check(self, "sub")
  if not is_time(other) then
    return nil, S.bad_argument("time:sub", "the argument", "a time", other)
  end
  return new_duration(between(self, other))
end

function methods.add_date(self, years, months, days)
  check(self, "add_date")
  years, months, days = years or 0, months or 0, days or 0
  if math_type(years) ~= "integer" then
    return nil, S.bad_argument("time:add_date", "years", "an integer", years)
  elseif math_type(months) ~= "integer" then
    return nil, S.bad_argument("time:add_date", "months", "an integer", months)
  elseif math_type(days) ~= "integer" then
    return nil, S.bad_argument("time:add_date", "days", "an integer", days)
  end
  local civil = civil_seconds(self)
  local year, month, day = S.civil_from_days(civil // 86400)
  year, month, day = year + years, month + months, day + days
  return from_civil(year, month, day, civil % 86400, self[NANOS], self[LOCATION])
end

local function is_before(a, b)
  return a[SECONDS] < b[SECONDS] or a[SECONDS] == b[SECONDS] and a[NANOS] < b[NANOS]
end

local function is_equal(a, b)
  return a[SECONDS] == b[SECONDS] and a[NANOS] == b[NANOS]
end

local function comparison(name, compare)
  methods[name] = function(self, other)
    check(self, name)
    if not is_time(other) then
      return nil, S.bad_argument("time:" .. name, "the argument", "a time", other)
    end
    return compare(self, other)
  end
end

comparison("before", is_before)
comparison("after", function(a, b) return is_before(b, a) end)
comparison("equal", is_equal)

-- Nanoseconds since the year 1 modulo ns. They do not fit into an integer, so they are built up bit by
-- bit, each sum taken modulo at once.
local function remainder(t, ns)
  local function plus(a, b)
    return a >= ns - b and a - (ns - b) or a + b
  end
  local seconds, result = (t[SECONDS] - YEAR_1) % ns, 0
  for bit = 29, 0, -1 do
    result = plus(result, result)
    if SECOND >> bit & 1 == 1 then
      result = plus(result, seconds)
    end
  end
  return plus(result, t[NANOS] % ns)
end

local function rounding(name, adjust)
  methods[name] = function(self, duration)
    check(self, name)
    local ns, err = to_ns(duration)
    if not ns then
      return nil, S.error_in("time:" .. name, err)
    elseif ns <= 0 then
      return self
    end
    return later(self, adjust(remainder(self, ns), ns))
  end
end

rounding("truncate", function(rest) return -rest end)
rounding("round", function(rest, ns) return rest < ns - rest and -rest or ns - rest end)

-- Reading -----------------------------------------------------------------------------------------

function methods.unix(self)
  return check(self, "unix")[SECONDS]
end

function methods.unix_nano(self)
  check(self, "unix_nano")
  return self[SECONDS] * SECOND + self[NANOS]
end

function methods.date(self)
  return S.civil_from_days(civil_seconds(check(self, "date")) // 86400)
end

function methods.clock(self)
  local seconds = civil_seconds(check(self, "clock")) % 86400
  return seconds // 3600, seconds // 60 % 60, seconds % 60
end

function methods.year(self)
  return (methods.date(check(self, "year")))
end

function methods.month(self)
  local _, month = methods.date(check(self, "month"))
  return month
end

function methods.day(self)
  local _, _, day = methods.date(check(self, "day"))
  return day
end

function methods.hour(self)
  return (methods.clock(check(self, "hour")))
end

function methods.minute(self)
  local _, minute = methods.clock(check(self, "minute"))
  return minute
end

function methods.second(self)
  local _, _, second = methods.clock(check(self, "second"))
  return second
end

function methods.nanosecond(self)
  return check(self, "nanosecond")[NANOS]
end

function methods.weekday(self)
  return (civil_seconds(check(self, "weekday")) // 86400 + 4) % 7
end

function methods.year_day(self)
  return S.year_day(methods.date(check(self, "year_day")))
end

function methods.is_zero(self)
  check(self, "is_zero")
  return self[SECONDS] == YEAR_1 and self[NANOS] == 0
end

local function formatted(t, layout)
  return S.format_time(layout, t[SECONDS], t[NANOS], offset_at(t[LOCATION], t[SECONDS]))
end

function methods.format(self, layout)
  check(self, "format")
  if type(layout) ~= "string" or layout == "" then
    return nil, S.bad_argument("time:format", "the layout", 'text such as "2006-01-02 15:04:05"', layout)
  end
  return formatted(self, layout)
end

function methods.format_rfc3339(self)
  return formatted(check(self, "format_rfc3339"), RFC3339)
end

-- Locations ---------------------------------------------------------------------------------------

function methods.utc(self)
  check(self, "utc")
  return new(self[SECONDS], self[NANOS], utc)
end

function methods.in_local(self)
  check(self, "in_local")
  return new(self[SECONDS], self[NANOS], S.localtz)
end

function methods.in_location(self, location)
  check(self, "in_location")
  if type(location) == "string" then
    local found, err = S.time.load_location(location)
    if not found then
      return nil, err
    end
    location = found
  elseif not is_location(location) then
    return nil, S.bad_argument("time:in_location", "the argument", "a location", location)
  end
  return new(self[SECONDS], self[NANOS], location)
end

function methods.location(self)
  return check(self, "location")[LOCATION]
end

-- Operators ---------------------------------------------------------------------------------------

function mt.__tostring(t)
  return formatted(t, "2006-01-02 15:04:05.999999999 -0700 MST")
end

function mt.__eq(a, b)
  return is_time(a) and is_time(b) and is_equal(a, b)
end

local function both_times(a, b)
  if not (is_time(a) and is_time(b)) then
    error(S.bad_argument("time <", "the other side", "a time", is_time(a) and b or a), 0)
  end
end

function mt.__lt(a, b)
  both_times(a, b)
  return is_before(a, b)
end

function mt.__le(a, b)
  both_times(a, b)
  return not is_before(b, a)
end

local function or_raise(value, err)
  if err then
    error(err, 0)
  end
  return value
end

function mt.__add(a, b)
  if not is_time(a) then
    a, b = b, a
  end
  return or_raise(methods.add(a, b))
end

-- The duration between two times, or the time that much earlier.
function mt.__sub(a, b)
  if is_time(a) and is_time(b) then
    return new_duration(between(a, b))
  elseif not is_time(a) then
    error(S.bad_argument("time -", "the left side", "a time", a), 0)
  end
  local ns, err = to_ns(b)
  return later(a, -or_raise(ns, err))
end

function mt.__newindex()
  error(S.new_error("Invalid", "a time cannot be changed"), 0)
end

-- Module ------------------------------------------------------------------------------------------

local time = S.time

for i = 1, 12 do
  time[upper(S.month_names[i])] = i
end
for i = 1, 7 do
  time[upper(S.weekday_names[i])] = i - 1
end

time.RFC3339, time.RFC3339NANO = RFC3339, "2006-01-02T15:04:05.999999999Z07:00"
time.DATE_TIME, time.DATE_ONLY, time.TIME_ONLY = "2006-01-02 15:04:05", "2006-01-02", "15:04:05"
time.RFC822, time.RFC822Z = "02 Jan 06 15:04 MST", "02 Jan 06 15:04 -0700"
time.RFC850 = "Monday, 02-Jan-06 15:04:05 MST"
time.RFC1123, time.RFC1123Z = "Mon, 02 Jan 2006 15:04:05 MST", "Mon, 02 Jan 2006 15:04:05 -0700"
time.ANSIC, time.UNIX_DATE = "Mon Jan _2 15:04:05 2006", "Mon Jan _2 15:04:05 MST 2006"
time.RUBY_DATE, time.KITCHEN = "Mon Jan 02 15:04:05 -0700 2006", "3:04PM"
time.STAMP, time.STAMP_MILLI = "Jan _2 15:04:05", "Jan _2 15:04:05.000"
time.STAMP_MICRO, time.STAMP_NANO = "Jan _2 15:04:05.000000", "Jan _2 15:04:05.000000000"

function time.now()
  return S.new_time(S.now())
end

function time.unix(seconds, nanos)
  nanos = nanos or 0
  if math_type(seconds) ~= "integer" then
    return nil, S.bad_argument("time.unix", "the seconds", "an integer", seconds)
  elseif math_type(nanos) ~= "integer" then
    return nil, S.bad_argument("time.unix", "the nanoseconds", "an integer", nanos)
  end
  return new(seconds + nanos // SECOND, nanos % SECOND, utc)
end

local DATE_FIELDS = { "the year", "the month", "the day", "the hour", "the minute", "the second", "the nanosecond" }

-- Year, month and day, then optionally the clock and a location; values beyond their range carry over.
function time.date(year, month, day, hour, minute, second, nanos, location)
  local fields = { year, month, day, hour or 0, minute or 0, second or 0, nanos or 0 }
  for i = 1, 7 do
    if math_type(fields[i]) ~= "integer" then
      return nil, S.bad_argument("time.date", DATE_FIELDS[i], "an integer", fields[i])
    end
  end
  if location ~= nil and not is_location(location) then
    return nil, S.bad_argument("time.date", "the location", "a location", location)
  end
  local clock = fields[4] * 3600 + fields[5] * 60 + fields[6]
  return from_civil(year, month, day, clock, fields[7], location or utc)
end

function time.parse(layout, text, location)
  if type(layout) ~= "string" or layout == "" then
    return nil, S.bad_argument("time.parse", "the layout", "text such as time.RFC3339", layout)
  elseif type(text) ~= "string" or text == "" then
    return nil, S.bad_argument("time.parse", "the time", "text", text)
  elseif location ~= nil and not is_location(location) then
    return nil, S.bad_argument("time.parse", "the location", "a location", location)
  end
  local seconds, nanos, where = S.parse_time(layout, text, location or utc)
  if not seconds then
    return nil, S.new_error("Invalid", 'time.parse: cannot read "' .. text .. '" as "' .. layout .. '": ' .. nanos)
  end
  return new(seconds, nanos, where)
end

return time
