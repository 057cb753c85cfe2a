-- print and the module `logger`: lines for the node's log, silent on replay.
--
-- S.print(…)
local S = ...
local next, select, setmetatable, type = next, select, setmetatable, type
local concat = table.concat

-- Fields as the log can carry them: objects as text rather than lost.
local function shown(base, fields, name)
  if fields ~= nil and (type(fields) ~= "table" or S.own_name(fields)) then fields = { value = fields } end
  local result = {}
  for key, value in next, S.merge(base, fields) do
    if S.own_name(value) then
      value = S.tostring(value)
    else
      value = S.try_copy(value)
    end
    result[S.tostring(key)] = value
  end
  result.logger = name
  return next(result) ~= nil and result or nil
end

local function log(level, name, base, message, fields)
  local slot = S.current
  message = S.tostring(message)
  if slot.replaying then return end
  S.emit_log(S.pid_of(slot), S.entry_of(slot), level, message, shown(base, fields, name))
end

function S.print(...)
  local parts = { ... }
  for i = 1, select("#", ...) do parts[i] = S.tostring(parts[i]) end
  log("info", nil, nil, concat(parts, "\t"))
end

-- Loggers: {name, fields} under a private key.
local STATE = {}
local methods = {}
local logger_mt = S.own_type("logger", { __index = methods })

local function new(name, fields) return setmetatable({ [STATE] = { name = name, fields = fields } }, logger_mt) end

local function state_of(logger)
  if S.own_name(logger) ~= "logger" then
    S.raise("Invalid", "not a logger: " .. S.show(logger) .. "; call its methods with a colon, as in log:info(…)")
  end
  return logger[STATE]
end

for _, level in next, { "debug", "info", "warn", "error" } do
  methods[level] = function(logger, message, fields)
    local state = state_of(logger)
    log(level, state.name, state.fields, message, fields)
  end
end

function methods.with(logger, fields)
  local state = state_of(logger)
  if type(fields) ~= "table" or S.own_name(fields) then
    S.raise("Invalid", "logger:with: fields must be a table, got " .. S.show(fields))
  end
  return new(state.name, S.merge(state.fields, fields))
end

function methods.named(logger, name)
  local state = state_of(logger)
  name = S.tostring(name)
  return new(state.name and state.name .. "." .. name or name, state.fields)
end

-- The module is a logger without a name; logger.info(…) and logger:info(…) both work: the module called
-- with a colon gets itself as a table that is no message.
local root = new(nil, nil)
local module = {}
for name, method in next, methods do
  module[name] = function(first, ...)
    if name == "with" and select("#", ...) == 0 or type(first) ~= "table" or S.own_name(first) then
      return method(root, first, ...)
    end
    return method(root, ...)
  end
end
S.modules.logger = module
