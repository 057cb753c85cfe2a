-- Reading times by Go layouts.
--
-- Needs: calendar, layout, locations. S.parse_time(layout, text, location) -> seconds since 1970 in UTC,
-- nanoseconds, location; or nil and what is wrong, for a person. `location` holds where the text names
-- no offset. A port of `parse` in Go's time/format.go; as there, an abbreviation that the location does
-- not use at that time gives a zone of that name with offset 0.
local S = ...
local byte, find, lower, match, rep, sub = string.byte, string.find, string.lower, string.match, string.rep, string.sub
local tonumber = tonumber
local next_chunk = S.next_chunk
local MONTHS, WEEKDAYS = S.month_names, S.weekday_names

-- The readers below take (text, position, t, element) and return the position after what they read;
-- nil when it is not there, or nil and the name of the field that is out of range.

local function digits(text, at, fewest, most)
  local found = match(text, "^%d+", at)
  if not found or #found < fewest then
    return nil
  end
  found = sub(found, 1, most)
  return tonumber(found), at + #found
end

local function number(field, fewest, low, high, name)
  return function(text, at, t)
    local value, after = digits(text, at, fewest, 2)
    if not value then
      return nil
    elseif value < low or value > high then
      return nil, name
    end
    t[field] = value
    return after
  end
end

local function name_in(names, length, field)
  return function(text, at, t)
    for i = 1, #names do
      local name = length and sub(names[i], 1, length) or names[i]
      if lower(sub(text, at, at + #name - 1)) == lower(name) then
        t[field] = i
        return at + #name
      end
    end
    return nil
  end
end

-- A number that may have spaces in front.
local function padded(spaces, reader)
  return function(text, at, t)
    for _ = 1, spaces do
      if byte(text, at) == 0x20 then
        at = at + 1
      end
    end
    return reader(text, at, t)
  end
end

local function nanoseconds(text, at, count)
  local found = sub(text, at, at + count - 1)
  return tonumber(sub(found .. "000000000", 1, 9))
end

local function has_fraction(text, at)
  return find(text, "^[.,]%d", at) ~= nil
end

local function fraction(text, at, t, count)
  if count < 0 then
    if not has_fraction(text, at) then
      return at
    end
    count = #match(text, "^%d+", at + 1)
  elseif not find(text, "^[.,]" .. rep("%d", count), at) then
    return nil
  end
  t.nanos = nanoseconds(text, at + 1, count)
  return at + 1 + count
end

-- Seconds may be followed by a fraction that the layout does not have.
local function second(fewest)
  local read = number("second", fewest, 0, 59, "second")
  return function(text, at, t, _, layout, rest)
    local after, problem = read(text, at, t)
    if after and has_fraction(text, after) then
      local _, _, code = next_chunk(layout, rest)
      if code ~= "fraction" then
        return fraction(text, after, t, -1)
      end
    end
    return after, problem
  end
end

local function year(text, at, t)
  local value, after = digits(text, at, 2, 2)
  if not value then
    return nil
  end
  t.year = value >= 69 and 1900 + value or 2000 + value
  return after
end

local function long_year(text, at, t)
  local value, after = digits(text, at, 4, 4)
  t.year = value
  return value and after
end

local function year_day(fewest)
  return function(text, at, t)
    local value, after = digits(text, at, fewest, 3)
    t.year_day = value
    return value and after
  end
end

local function half_of_day(noon)
  return function(text, at, t)
    local found = sub(text, at, at + 1)
    if found ~= noon and found ~= (noon == "PM" and "AM" or "am") then
      return nil
    end
    t.afternoon = found == noon
    return at + 2
  end
end

local ZONES = {
  ["07"] = "^([-+])(%d%d)",
  ["0700"] = "^([-+])(%d%d)(%d%d)",
  ["07:00"] = "^([-+])(%d%d):(%d%d)",
  ["070000"] = "^([-+])(%d%d)(%d%d)(%d%d)",
  ["07:00:00"] = "^([-+])(%d%d):(%d%d):(%d%d)",
}

local function zone(text, at, t, element)
  if byte(element) == 0x5a and byte(text, at) == 0x5a then
    t.utc = true
    return at + 1
  end
  local sign, hours, minutes, seconds = match(text, ZONES[sub(element, 2)], at)
  if not sign then
    return nil
  end
  hours, minutes, seconds = tonumber(hours), tonumber(minutes or 0), tonumber(seconds or 0)
  if hours > 24 then
    return nil, "time zone offset hour"
  elseif minutes > 59 then
    return nil, "time zone offset minute"
  elseif seconds > 59 then
    return nil, "time zone offset second"
  end
  local offset = hours * 3600 + minutes * 60 + seconds
  t.offset = sign == "-" and -offset or offset
  return at + #element
end

-- Length of "+3" or "-11" at a position; 0 when there is none.
local function signed_hours(text, at)
  local found = match(text, "^[-+]%d+", at)
  return found and #found <= 20 and tonumber(sub(found, 2)) <= 23 and #found or 0
end

local function abbreviation_length(text, at)
  local four = sub(text, at, at + 3)
  if four == "ChST" or four == "MeST" then
    return 4
  elseif sub(four, 1, 3) == "GMT" then
    return 3 + signed_hours(text, at + 3)
  elseif find(four, "^[-+]") then
    return signed_hours(text, at)
  end
  local capitals = match(text, "^%u*", at)
  local length = #capitals
  if length == 3 or length == 4 and (sub(four, 4) == "T" or four == "WITA") or length == 5 and sub(capitals, 5) == "T" then
    return length
  end
  return 0
end

local function abbreviation(text, at, t)
  if sub(text, at, at + 2) == "UTC" then
    t.utc = true
    return at + 3
  end
  local length = #text - at >= 2 and abbreviation_length(text, at) or 0
  if length == 0 then
    return nil
  end
  t.zone_name = sub(text, at, at + length - 1)
  return at + length
end

local readers = {
  year = year,
  long_year = long_year,
  month = name_in(MONTHS, 3, "month"),
  long_month = name_in(MONTHS, nil, "month"),
  num_month = number("month", 1, 1, 12, "month"),
  zero_month = number("month", 2, 1, 12, "month"),
  weekday = name_in(WEEKDAYS, 3, "weekday"),
  long_weekday = name_in(WEEKDAYS, nil, "weekday"),
  day = number("day", 1, 0, 99, "day"),
  under_day = padded(1, number("day", 1, 0, 99, "day")),
  zero_day = number("day", 2, 0, 99, "day"),
  under_year_day = padded(2, year_day(1)),
  zero_year_day = year_day(3),
  hour = number("hour", 1, 0, 23, "hour"),
  hour12 = number("hour", 1, 0, 12, "hour"),
  zero_hour12 = number("hour", 2, 0, 12, "hour"),
  minute = number("minute", 1, 0, 59, "minute"),
  zero_minute = number("minute", 2, 0, 59, "minute"),
  second = second(1),
  zero_second = second(2),
  fraction = fraction,
  pm = half_of_day("PM"),
  small_pm = half_of_day("pm"),
  zone = zone,
  abbreviation = abbreviation,
}

-- The position after the plain text of a layout; runs of spaces match each other.
local function skip(text, at, plain)
  local i = 1
  while i <= #plain do
    if byte(plain, i) == 0x20 then
      if at <= #text and byte(text, at) ~= 0x20 then
        return nil
      end
      i, at = match(plain, "^ *()", i), match(text, "^ *()", at)
    else
      if byte(plain, i) ~= byte(text, at) then
        return nil
      end
      i, at = i + 1, at + 1
    end
  end
  return at
end

local function read_fields(layout, text)
  local t, at, from = { nanos = 0 }, 1, 1
  while true do
    local start, after, code, arg = next_chunk(layout, from)
    local plain = sub(layout, from, (start or #layout + 1) - 1)
    local next_at = skip(text, at, plain)
    if not next_at then
      return nil, '"' .. sub(text, at) .. '" where "' .. plain .. '" should be'
    end
    at = next_at
    if not start then
      if at <= #text then
        return nil, '"' .. sub(text, at) .. '" is left over'
      end
      return t
    end
    local problem
    next_at, problem = readers[code](text, at, t, arg, layout, after)
    if not next_at then
      if problem then
        return nil, problem .. " out of range"
      end
      return nil, '"' .. sub(text, at) .. '" where "' .. sub(layout, start, after - 1) .. '" should be'
    end
    at, from = next_at, after
  end
end

-- Fills in month and day of t; nil and what is wrong when there is no such day.
local function settle_date(t)
  local year_number = t.year or 0
  if t.year_day then
    local _, month, day = S.civil_from_days(S.days_from_civil(year_number, 1, t.year_day))
    if t.year_day < 1 or t.year_day > S.year_day(year_number, 12, 31) then
      return nil, "day-of-year out of range"
    elseif t.month and t.month ~= month then
      return nil, "day-of-year does not match month"
    elseif t.day and t.day ~= day then
      return nil, "day-of-year does not match day"
    end
    t.month, t.day = month, day
  end
  t.year, t.month, t.day = year_number, t.month or 1, t.day or 1
  if t.day < 1 or t.day > S.days_in_month(t.year, t.month) then
    return nil, "day out of range"
  end
  return true
end

local function settle_hour(t)
  local hour = t.hour or 0
  if t.afternoon and hour < 12 then
    return hour + 12
  elseif t.afternoon == false and hour == 12 then
    return 0
  end
  return hour
end

-- What the zone that was read means for a clock that shows `civil` seconds.
local function settle_zone(t, civil, location)
  if t.utc then
    return civil, S.utc
  elseif t.offset then
    local seconds = civil - t.offset
    local offset, name = S.offset_at(location, seconds)
    if offset == t.offset and (not t.zone_name or t.zone_name == name) then
      return seconds, location
    end
    return seconds, S.fixed_location(t.zone_name or "", t.offset)
  end
  local offset, name = S.offset_of_civil(location, civil)
  if not t.zone_name or t.zone_name == name then
    return civil - offset, location
  end
  offset = (tonumber(match(t.zone_name, "^GMT([-+]%d+)$")) or 0) * 3600
  return civil - offset, S.fixed_location(t.zone_name, offset)
end

function S.parse_time(layout, text, location)
  local t, problem = read_fields(layout, text)
  if not t then
    return nil, problem
  end
  local ok
  ok, problem = settle_date(t)
  if not ok then
    return nil, problem
  end
  local days = S.days_from_civil(t.year, t.month, t.day)
  local civil = days * 86400 + settle_hour(t) * 3600 + (t.minute or 0) * 60 + (t.second or 0)
  local seconds, where = settle_zone(t, civil, location)
  return seconds, t.nanos, where
end
