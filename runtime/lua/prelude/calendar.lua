-- The proleptic Gregorian calendar, in integers.
--
-- S.days_from_civil(year, month, day) -> days since 1970-01-01; any integers: month 13 is the next
--     January, day 0 the last of the month before
-- S.civil_from_days(days) -> year, month, day
-- S.days_in_month(year, month) -> 28 … 31, month within 1 … 12
-- S.year_day(year, month, day) -> 1 … 366
-- The algorithms are those of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years
-- begin in March, so that the leap day is the last, and 400 years are a whole number of days.
local S = ...

local DAYS_OF_ERA, EPOCH = 146097, 719468 -- days in 400 years; from 0000-03-01 to 1970-01-01

local function days_from_civil(year, month, day)
  local months = month - 1
  year, month = year + months // 12, months % 12 + 1
  if month <= 2 then
    year = year - 1
  end
  local era = year // 400
  local year_of_era = year - era * 400
  local day_of_year = (153 * ((month + 9) % 12) + 2) // 5
  local day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
  return era * DAYS_OF_ERA + day_of_era - EPOCH + day - 1
end
S.days_from_civil = days_from_civil

function S.civil_from_days(days)
  days = days + EPOCH
  local era = days // DAYS_OF_ERA
  local day_of_era = days - era * DAYS_OF_ERA
  local year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
  local day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
  local shifted = (5 * day_of_year + 2) // 153
  local day = day_of_year - (153 * shifted + 2) // 5 + 1
  local month = (shifted + 2) % 12 + 1
  return year_of_era + era * 400 + (month <= 2 and 1 or 0), month, day
end

function S.days_in_month(year, month)
  return days_from_civil(year, month + 1, 1) - days_from_civil(year, month, 1)
end

function S.year_day(year, month, day)
  return days_from_civil(year, month, day) - days_from_civil(year, 1, 1) + 1
end
