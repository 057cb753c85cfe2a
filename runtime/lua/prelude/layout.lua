-- Go's time layouts: the reference time Mon Jan 2 15:04:05 MST 2006 shows how a time is written.
--
-- S.next_chunk(layout, from) -> start, after, code, arg of the first element at `from` or later; nil
--     when the rest is plain text. For codes "zone" arg is the element itself; for "fraction" it is
--     the number of digits, negative where trailing zeros are dropped.
-- The rules are those of nextStdChunk in Go's time/format.go.
local S = ...
local byte, find, match, sub = string.byte, string.find, string.match, string.sub

-- By first letter, longest first: text, code.
local ELEMENTS = {
  J = { { "January", "long_month" }, { "Jan", "month" } },
  M = { { "Monday", "long_weekday" }, { "Mon", "weekday" }, { "MST", "abbreviation" } },
  ["0"] = {
    { "002", "zero_year_day" },
    { "01", "zero_month" },
    { "02", "zero_day" },
    { "03", "zero_hour12" },
    { "04", "zero_minute" },
    { "05", "zero_second" },
    { "06", "year" },
  },
  ["1"] = { { "15", "hour" }, { "1", "num_month" } },
  ["2"] = { { "2006", "long_year" }, { "2", "day" } },
  _ = { { "__2", "under_year_day" }, { "_2", "under_day" } },
  ["3"] = { { "3", "hour12" } },
  ["4"] = { { "4", "minute" } },
  ["5"] = { { "5", "second" } },
  P = { { "PM", "pm" } },
  p = { { "pm", "small_pm" } },
  ["-"] = { { "-070000" }, { "-07:00:00" }, { "-0700" }, { "-07:00" }, { "-07" } },
  Z = { { "Z070000" }, { "Z07:00:00" }, { "Z0700" }, { "Z07:00" }, { "Z07" } },
}

local function element_at(layout, i)
  local list = ELEMENTS[sub(layout, i, i)]
  for k = 1, list and #list or 0 do
    local text, code = list[k][1], list[k][2]
    local after = i + #text
    if sub(layout, i, after - 1) == text then
      -- "Jan" and "Mon" within a longer word are words.
      if not ((code == "month" or code == "weekday") and find(layout, "^%l", after)) then
        return after, code or "zone", text
      end
    end
  end
  return nil
end

function S.next_chunk(layout, from)
  for i = from, #layout do
    local c = byte(layout, i)
    if c == 0x2e or c == 0x2c then
      local digits = match(layout, "^0+", i + 1) or match(layout, "^9+", i + 1)
      if digits and not find(layout, "^%d", i + 1 + #digits) then
        local count = byte(digits) == 0x39 and -#digits or #digits
        return i, i + 1 + #digits, "fraction", count
      end
    elseif c == 0x5f and sub(layout, i + 1, i + 4) == "2006" then
      return i + 1, i + 5, "long_year"
    else
      local after, code, text = element_at(layout, i)
      if after then
        return i, after, code, text
      end
    end
  end
  return nil
end

S.month_names = {
  "January", "February", "March", "April", "May", "June", "July",
  "August", "September", "October", "November", "December",
}
S.weekday_names = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" }
