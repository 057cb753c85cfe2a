-- The module `io`: for processes on a terminal host. A write comes back when it is written, so a program is never
-- ahead of who reads it; where it cannot wait (in a callback of C) it goes out with the end of the turn.
local S = ...
local concat, isyieldable, select = table.concat, coroutine.isyieldable, select
local math_type = math.type

local MOST <const> = 1048576 -- bytes of a read

local function terminal(where)
  local slot = S.current
  if slot.terminal then return slot end
  return nil, S.new_error("Invalid", where .. ": " .. S.entry_of(slot) .. " does not run on a terminal host")
end

local function write(where, stream, separator, ending, ...)
  local slot, err = terminal(where)
  if not slot then return nil, err end
  local parts = { ... }
  for i = 1, select("#", ...) do parts[i] = S.tostring(parts[i]) end
  local text = concat(parts, separator) .. ending
  if not isyieldable() then return S.tell("io", stream, text) end
  return S.ask("io", stream, text)
end

-- size: bytes at most, or nil for a line
local function read(where, size)
  local slot, err = terminal(where)
  if not slot then return nil, err end
  -- Whoever waits here for a person may be ended at once: see S.dismiss.
  slot.reading = slot.seq + 1
  local value
  value, err = S.ask("io", "read", size)
  slot.reading = nil
  return value, err
end

S.modules.io = {
  write = function(...) return write("io.write", "out", "", "", ...) end,
  print = function(...) return write("io.print", "out", "\t", "\n", ...) end,
  eprint = function(...) return write("io.eprint", "err", "\t", "\n", ...) end,
  -- Nothing is held back but what could not wait: that is written before this is.
  flush = function() return write("io.flush", "out", "", "") end,
  readline = function() return read("io.readline", nil) end,
  read = function(size)
    if size == nil then size = 4096 end
    if math_type(size) ~= "integer" or size < 1 or size > MOST then
      return nil, S.bad_argument("io.read", "size", "an integer from 1 to " .. MOST, size)
    end
    return read("io.read", size)
  end,
  args = function()
    local slot, err = terminal("io.args")
    if not slot then return nil, err end
    return S.copy(slot.terminal)
  end,
}
