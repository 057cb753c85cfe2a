-- The module `io`: for processes on a terminal host.
local S = ...
local concat, select = table.concat, select

local function terminal()
  local slot = S.current
  if slot.terminal then return slot end
  return nil, S.new_error("Invalid", "io: " .. S.entry_of(slot) .. " does not run on a terminal host")
end

local function write(separator, ending, ...)
  local slot, err = terminal()
  if not slot then return nil, err end
  local parts = { ... }
  for i = 1, select("#", ...) do parts[i] = S.tostring(parts[i]) end
  S.emit_io(S.pid_of(slot), concat(parts, separator) .. ending)
  return true
end

S.modules.io = {
  write = function(...) return write("", "", ...) end,
  print = function(...) return write("\t", "\n", ...) end,
  -- Nothing is held back.
  flush = function()
    local slot, err = terminal()
    if not slot then return nil, err end
    return true
  end,
  args = function()
    local slot, err = terminal()
    if not slot then return nil, err end
    return S.copy(slot.terminal)
  end,
}
