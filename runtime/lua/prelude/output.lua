-- What goes out for people to read: print and the module `logger` (to the node's log, silent on
-- replay), and the module `io` of terminal processes.
local S = ...
local type, select, pairs, setmetatable = type, select, pairs, setmetatable
local concat = table.concat

local function log(level, name, base, message, fields)
  local slot = S.current
  if slot.replaying then return end
  if type(message) ~= "string" then message = S.tostring(message) end
  if base or fields ~= nil then
    if fields ~= nil and type(fields) ~= "table" then fields = { value = fields } end
    -- Objects are shown as text rather than lost.
    local shown = {}
    for _, source in pairs({ base or {}, fields or {} }) do
      for key, value in pairs(source) do
        local copied = S.own_name(value) and S.tostring(value) or S.try_copy(value)
        shown[S.tostring(key)] = copied
      end
    end
    fields = shown
  end
  if name then fields = S.merge(fields, { logger = name }) end
  S.emit_log(S.pid_of(slot), level, message, fields)
end

function S.print(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = S.tostring((select(i, ...))) end
  log("info", nil, nil, concat(parts, "\t"))
end

local logger_methods = {}
local logger_mt = S.own_type("logger", { __index = logger_methods })
for _, level in pairs({ "debug", "info", "warn", "error" }) do
  logger_methods[level] = function(self, message, fields) log(level, self.name, self.fields, message, fields) end
end
function logger_methods.with(self, fields)
  return setmetatable({ name = self.name, fields = S.merge(self.fields, fields) }, logger_mt)
end
function logger_methods.named(self, name)
  return setmetatable({ name = self.name and self.name .. "." .. name or name, fields = self.fields }, logger_mt)
end

-- The module is a logger without a name; logger.info(…) and logger:info(…) both work.
local logger, root = {}, setmetatable({}, logger_mt)
for name, method in pairs(logger_methods) do
  logger[name] = function(first, ...)
    if type(first) == "table" and select("#", ...) > 0 then return method(root, ...) end
    return method(root, first, ...)
  end
end
S.modules.logger = logger

local function terminal()
  local slot = S.current
  if slot.terminal then return slot end
  return nil, S.new_error("Invalid", "io: " .. slot.entry .. " does not run on a terminal host")
end

local function write(text_end, ...)
  local slot, err = terminal()
  if not slot then return nil, err end
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = S.tostring((select(i, ...))) end
  S.emit_io(S.pid_of(slot), concat(parts, text_end == "\n" and "\t" or "") .. text_end)
  return true
end

S.modules.io = {
  write = function(...) return write("", ...) end,
  print = function(...) return write("\n", ...) end,
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
