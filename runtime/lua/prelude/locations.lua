-- Locations: UTC, fixed offsets, and named zones of the database that the host has.
--
-- Needs: objects, errors, arguments, duration (for S.time). Hook S.zone_offset(name, unix_seconds) -> seconds east of UTC,
--     abbreviation; nil for a name that it does not know. "Local" is the zone of the node, and UTC in a workflow,
--     which may go on elsewhere.
-- S.utc, S.localtz: Location objects. S.is_location(v) -> boolean
-- S.fixed_location(name, offset) -> Location
-- S.location_name(location) -> text
-- S.offset_at(location, unix_seconds) -> seconds east of UTC, abbreviation ("" if it has none)
-- S.offset_of_civil(location, seconds) -> the same for a wall clock that shows `seconds` as if it were UTC
-- Adds to S.time: utc, localtz (values; calling one gives itself), load_location(name) -> Location | nil, err;
-- fixed_zone(name, offset) -> Location | nil, err.
local S = ...
local own = S.own
local getmetatable = debug.getmetatable
local math_type = math.type
local error, setmetatable, type = error, setmetatable, type

local NAME, OFFSET = {}, {} -- a named zone has no offset of its own
local methods = {}
local mt = S.own_type("location", { __index = methods })

local function new(name, offset)
  return setmetatable({ [NAME] = name, [OFFSET] = offset }, mt)
end
S.fixed_location = new
S.utc, S.localtz = new("UTC", 0), new("Local", nil)

local function is_location(v)
  return type(v) == "table" and own[getmetatable(v)] == "location"
end
S.is_location = is_location

function S.location_name(location)
  return location[NAME]
end

local function offset_at(location, seconds)
  local offset = location[OFFSET]
  if offset then
    return offset, location[NAME]
  end
  if location[NAME] == "Local" and S.current and S.current.durable then
    return 0, "UTC"
  end
  local name
  offset, name = S.zone_offset(location[NAME], seconds)
  if not offset then -- in a year that the database has no answer for
    return 0, "UTC"
  end
  return offset, name or ""
end
S.offset_at = offset_at

-- Where clocks are set forward or back, the offset before the change wins, as in Go's time.Date.
function S.offset_of_civil(location, seconds)
  local offset, name = offset_at(location, seconds)
  local after, after_name = offset_at(location, seconds - offset)
  if after ~= offset then
    return after, after_name
  end
  return offset, name
end

function methods.string(self)
  if not is_location(self) then
    error(S.new_error("Invalid", "string is a method of locations: call it as loc:string()"), 0)
  end
  return self[NAME]
end

mt.__tostring = methods.string

function mt.__call(self)
  return self
end

function mt.__eq(a, b)
  return is_location(a) and is_location(b) and a[NAME] == b[NAME] and a[OFFSET] == b[OFFSET]
end

function mt.__newindex()
  error(S.new_error("Invalid", "a location cannot be changed"), 0)
end

local time = S.time
time.utc, time.localtz = S.utc, S.localtz

function time.load_location(name)
  if type(name) ~= "string" or name == "" then
    return nil, S.bad_argument("time.load_location", "the name", 'a zone such as "Europe/Berlin"', name)
  elseif name == "UTC" then
    return S.utc
  elseif name == "Local" then
    return S.localtz
  elseif not S.zone_offset(name, 0) then
    return nil, S.new_error("NotFound", 'time.load_location: unknown time zone "' .. name .. '"')
  end
  return new(name, nil)
end

function time.fixed_zone(name, offset)
  if type(name) ~= "string" then
    return nil, S.bad_argument("time.fixed_zone", "the name", "a string", name)
  elseif math_type(offset) ~= "integer" or offset < -86400 or offset > 86400 then
    return nil, S.bad_argument("time.fixed_zone", "the offset", "seconds east of UTC, at most a day", offset)
  end
  return new(name, offset)
end
