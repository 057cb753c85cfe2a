-- Writing times by Go layouts.
--
-- Needs: calendar, layout. S.format_time(layout, seconds, nanos, offset, abbreviation) -> text, where
-- `seconds` are those since 1970 in UTC and `offset` is in seconds east of it.
local S = ...
local concat = table.concat
local byte, format, gsub, rep, sub = string.byte, string.format, string.gsub, string.rep, string.sub
local next_chunk = S.next_chunk
local MONTHS, WEEKDAYS = S.month_names, S.weekday_names

-- The wall clock of a moment, as the writers below want it.
local function wall_clock(seconds, nanos, offset, abbreviation)
  local at = seconds + offset
  local days, rest = at // 86400, at % 86400
  local year, month, day = S.civil_from_days(days)
  return {
    year = year,
    month = month,
    day = day,
    weekday = (days + 4) % 7 + 1,
    year_day = S.year_day(year, month, day),
    hour = rest // 3600,
    minute = rest // 60 % 60,
    second = rest % 60,
    nanos = nanos,
    offset = offset,
    abbreviation = abbreviation,
  }
end

local function hour12(t)
  local hour = t.hour % 12
  return hour == 0 and 12 or hour
end

local function signed(offset, layout)
  local sign, size = "+", offset
  if offset < 0 then
    sign, size = "-", -offset
  end
  return format(layout, sign, size // 3600, size // 60 % 60, size % 60)
end

local ZONES = {
  ["07"] = "%s%02d",
  ["0700"] = "%s%02d%02d",
  ["07:00"] = "%s%02d:%02d",
  ["070000"] = "%s%02d%02d%02d",
  ["07:00:00"] = "%s%02d:%02d:%02d",
}

local writers = {
  year = function(t) return format("%02d", (t.year < 0 and -t.year or t.year) % 100) end,
  long_year = function(t)
    return t.year < 0 and format("-%04d", -t.year) or format("%04d", t.year)
  end,
  month = function(t) return sub(MONTHS[t.month], 1, 3) end,
  long_month = function(t) return MONTHS[t.month] end,
  num_month = function(t) return format("%d", t.month) end,
  zero_month = function(t) return format("%02d", t.month) end,
  weekday = function(t) return sub(WEEKDAYS[t.weekday], 1, 3) end,
  long_weekday = function(t) return WEEKDAYS[t.weekday] end,
  day = function(t) return format("%d", t.day) end,
  under_day = function(t) return format("%2d", t.day) end,
  zero_day = function(t) return format("%02d", t.day) end,
  under_year_day = function(t) return format("%3d", t.year_day) end,
  zero_year_day = function(t) return format("%03d", t.year_day) end,
  hour = function(t) return format("%02d", t.hour) end,
  hour12 = function(t) return format("%d", hour12(t)) end,
  zero_hour12 = function(t) return format("%02d", hour12(t)) end,
  minute = function(t) return format("%d", t.minute) end,
  zero_minute = function(t) return format("%02d", t.minute) end,
  second = function(t) return format("%d", t.second) end,
  zero_second = function(t) return format("%02d", t.second) end,
  pm = function(t) return t.hour >= 12 and "PM" or "AM" end,
  small_pm = function(t) return t.hour >= 12 and "pm" or "am" end,
  zone = function(t, element)
    if t.offset == 0 and byte(element) == 0x5a then
      return "Z"
    end
    return signed(t.offset, ZONES[sub(element, 2)])
  end,
  abbreviation = function(t)
    if t.abbreviation ~= "" then
      return t.abbreviation
    end
    return signed(t.offset, ZONES["0700"])
  end,
}

local function fraction(t, digits, separator)
  local text = format("%09d", t.nanos)
  if digits > 0 then
    return separator .. sub(text .. rep("0", digits - 9), 1, digits)
  end
  text = gsub(sub(text, 1, -digits), "0+$", "")
  return text == "" and "" or separator .. text
end

function S.format_time(layout, seconds, nanos, offset, abbreviation)
  local t = wall_clock(seconds, nanos, offset, abbreviation)
  local parts, from = {}, 1
  while true do
    local start, after, code, arg = next_chunk(layout, from)
    if not start then
      parts[#parts + 1] = sub(layout, from)
      return concat(parts)
    end
    parts[#parts + 1] = sub(layout, from, start - 1)
    if code == "fraction" then
      parts[#parts + 1] = fraction(t, arg, sub(layout, start, start))
    else
      parts[#parts + 1] = writers[code](t, arg)
    end
    from = after
  end
end
