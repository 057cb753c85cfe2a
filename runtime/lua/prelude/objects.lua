-- Objects of the runtime: which tables are ours (errors, times, channels, messages, …).
--
-- Chunk convention of every prelude file: called once with `S`, the private table that prelude files
-- share and users never see; takes what it needs from the standard library into locals at load time;
-- returns its module table, if it is one.
--
-- S.own_type(name, mt) -> mt   declares `mt` the metatable of our objects of type `name`: it gets
--     `__perdure = name`, `__name = name` and is locked. A type that travels as plain data also has
--     `mt.__data(object) -> value`. Only declared metatables count: a user's table that merely has a
--     field `__perdure` in its metatable is an ordinary table, and its `__data` is never run.
-- S.own[mt] -> name or nil     the same knowledge, for inner loops. A metatable of users may not be compared with one of
--     ours: with `__eq` in a metatable of its own, it is equal to whatever it likes.
-- S.own_name(v) -> name or nil the type of one of our objects; nil for every other value.
local S = ...
local getmetatable = debug.getmetatable
local type = type

local own = {}
S.own = own

function S.own_type(name, mt)
  mt.__perdure = name
  mt.__name = name
  mt.__metatable = false
  own[mt] = name
  return mt
end

function S.own_name(v)
  if type(v) == "table" then
    local mt = getmetatable(v)
    return mt and own[mt]
  end
  return nil
end
