-- Error objects and the module `errors`.
--
-- An error is immutable: kind, message, retryable, details, context and trace sit behind private keys,
-- so that processes of one VM can share it instead of copying. Like a Go error it prints as
-- "<context>: <message>"; the kind is read by `err:kind()`.
--
-- Needs: objects. S.copy at run time. S.thread_name() -> string, if there, names the running
--     coroutine for `call_stack`; without it every thread is "main".
-- S.new_error(kind, message, retryable, details, context, trace) -> error; details are not copied.
-- S.invalid(message) -> error of kind Invalid.
-- S.is_error(v) -> boolean
-- S.to_error(v, trace) -> error; v is whatever was raised. An error object is returned as it is.
-- S.error_fields(e) -> kind, message, retryable, details, context, trace
-- S.trace(level) -> text: "thread <name>" and then a line "source:line: in name" for each Lua frame from
--     `level` (1 is the caller) on, at most 32. Chunks named "=perdure:…" (the prelude) are left out.
local S = ...
local own = S.own
local getinfo, getmetatable = debug.getinfo, debug.getmetatable
local concat = table.concat
local find, gmatch, match, sub = string.find, string.gmatch, string.match, string.sub
local error, next, pcall, rawget, setmetatable = error, next, pcall, rawget, setmetatable
local tonumber, tostring, type = tonumber, tostring, type

local MAX_FRAMES = 32
local MAX_FIELDS = 1000 -- that are looked at, of a table that was raised and cannot be sent as a whole
local KIND, MESSAGE, RETRYABLE, DETAILS, CONTEXT, TRACE = {}, {}, {}, {}, {}, {}

local methods = {}
local mt = S.own_type("error", { __index = methods })

local function new(kind, message, retryable, details, context, trace)
  if type(details) == "table" and next(details) == nil then
    details = nil
  end
  return setmetatable({
    [KIND] = kind,
    [MESSAGE] = message,
    [RETRYABLE] = retryable,
    [DETAILS] = details,
    [CONTEXT] = context or "",
    [TRACE] = trace or "",
  }, mt)
end
S.new_error = new

local function invalid(message)
  return new("Invalid", message)
end
S.invalid = invalid

local function is_error(v)
  return type(v) == "table" and own[getmetatable(v)] == "error"
end
S.is_error = is_error

function S.error_fields(e)
  return e[KIND], e[MESSAGE], e[RETRYABLE], e[DETAILS], e[CONTEXT], e[TRACE]
end

local function trace(level)
  local lines = { "thread " .. (S.thread_name and S.thread_name() or "main") }
  level = level + 1
  local info = getinfo(level, "Sln")
  while info and #lines <= MAX_FRAMES do
    if info.what ~= "C" and not find(info.source, "^=perdure:") then
      local name = info.name or (info.linedefined <= 1 and "main chunk" or "?")
      lines[#lines + 1] = info.short_src .. ":" .. info.currentline .. ": in " .. name
    end
    level = level + 1
    info = getinfo(level, "Sln")
  end
  return concat(lines, "\n")
end
S.trace = trace

local function text_of_table(t)
  local text = rawget(t, "message") or rawget(t, "error")
  if type(text) == "string" then
    return text
  end
  return "a table was raised that has no message"
end

-- What of a table that cannot be sent as a whole can be: its fields that are texts, numbers or booleans.
local function plain_fields(t)
  local fields, seen = {}, 0
  for key, value in next, t do
    local kind = type(value)
    if type(key) == "string" and (kind == "string" or kind == "number" or kind == "boolean") then fields[key] = value end
    seen = seen + 1
    if seen == MAX_FIELDS then break end
  end
  return fields
end

function S.to_error(v, at)
  if is_error(v) then
    return v
  end
  local kind = type(v)
  if kind == "string" then
    return new("Internal", v, nil, nil, "", at)
  elseif kind == "number" or kind == "boolean" then
    return new("Internal", tostring(v), nil, nil, "", at)
  elseif kind == "nil" then
    return new("Internal", "nil was raised", nil, nil, "", at)
  elseif kind == "table" and not S.own_name(v) then
    local ok, details = pcall(S.copy, v)
    if not ok then
      if not is_error(details) then
        error(details, 0) -- not ours to swallow: the runtime's kill
      end
      details = plain_fields(v) -- better than nothing
    end
    return new("Internal", text_of_table(v), nil, details, "", at)
  end
  return new("Internal", "a " .. (S.own_name(v) or kind) .. " was raised", nil, nil, "", at)
end

-- Methods ---------------------------------------------------------------------------------------

local function check(self, name)
  if not is_error(self) then
    error(invalid(name .. " is a method of errors: call it as err:" .. name .. "()"), 0)
  end
  return self
end

function methods.kind(self)
  return check(self, "kind")[KIND]
end

function methods.message(self)
  return check(self, "message")[MESSAGE]
end

function methods.retryable(self)
  return check(self, "retryable")[RETRYABLE]
end

function methods.details(self)
  return (S.copy(check(self, "details")[DETAILS]))
end

function methods.stack(self)
  return check(self, "stack")[TRACE]
end

local function text(e)
  local context, message = e[CONTEXT], e[MESSAGE]
  return context == "" and message or context .. ": " .. message
end
mt.__tostring = text

function mt.__concat(a, b)
  local left, right = a, b
  if is_error(a) then
    left = text(a)
  end
  if is_error(b) then
    right = text(b)
  end
  local other = left
  if is_error(a) then
    other = right
  end
  if type(other) ~= "string" and type(other) ~= "number" then
    local name = S.own_name(other) or type(other)
    error(invalid("attempt to concatenate an error and a " .. name .. " value"), 0)
  end
  return left .. right
end

function mt.__newindex()
  error(invalid("an error cannot be changed: make another with errors.new or errors.wrap"), 0)
end

-- Module ----------------------------------------------------------------------------------------

local errors = {
  NOT_FOUND = "NotFound",
  ALREADY_EXISTS = "AlreadyExists",
  INVALID = "Invalid",
  PERMISSION_DENIED = "PermissionDenied",
  UNAVAILABLE = "Unavailable",
  INTERNAL = "Internal",
  CANCELED = "Canceled",
  CONFLICT = "Conflict",
  TIMEOUT = "Timeout",
  RATE_LIMITED = "RateLimited",
  UNKNOWN = "",
}

local function wrong(field, wanted, got)
  return nil, invalid("errors.new: " .. field .. " must be " .. wanted .. ", not a " .. type(got) .. " value")
end

-- errors.new("message") or errors.new{message =, kind = "", retryable = nil, details = nil}.
function errors.new(spec)
  if type(spec) == "string" then
    return new("", spec, nil, nil, "", trace(2))
  elseif type(spec) ~= "table" or S.own_name(spec) then
    return wrong("the argument", "a string or a table with a message", spec)
  end
  local message, kind = rawget(spec, "message"), rawget(spec, "kind")
  local retryable, details = rawget(spec, "retryable"), rawget(spec, "details")
  if type(message) ~= "string" then
    return wrong("message", "a string", message)
  elseif kind ~= nil and type(kind) ~= "string" then
    return wrong("kind", "one of the constants such as errors.NOT_FOUND", kind)
  elseif retryable ~= nil and type(retryable) ~= "boolean" then
    return wrong("retryable", "true, false or nil", retryable)
  elseif details ~= nil then
    if type(details) ~= "table" then
      return wrong("details", "a table", details)
    end
    local ok, copy = pcall(S.copy, details)
    if not ok then
      if not is_error(copy) then
        error(copy, 0) -- not ours to swallow: the runtime's kill
      end
      return nil, errors.wrap(copy, "errors.new: details")
    end
    details = copy
  end
  return new(kind or "", message, retryable, details, "", trace(2))
end

-- A new error with `context` in front; kind, retryable, details, message() and stack stay.
function errors.wrap(e, context)
  if type(context) ~= "string" then
    return nil, invalid("errors.wrap: the context must be a string, not a " .. type(context) .. " value")
  elseif type(e) == "string" then
    return new("", e, nil, nil, context, trace(2))
  elseif not is_error(e) then
    return nil, invalid("errors.wrap: expected an error or a string, not a " .. type(e) .. " value")
  end
  local inner = e[CONTEXT]
  local outer = (inner == "" or context == "") and context .. inner or context .. ": " .. inner
  return new(e[KIND], e[MESSAGE], e[RETRYABLE], e[DETAILS], outer, e[TRACE])
end

function errors.is(e, kind)
  return is_error(e) and e[KIND] == kind
end

-- {thread = name, frames = {{source =, line =, name =}, …}}, innermost first.
function errors.call_stack(e)
  if not is_error(e) then
    return nil, invalid("errors.call_stack: expected an error, not a " .. type(e) .. " value")
  end
  local thread, frames = "main", {}
  for line in gmatch(e[TRACE], "[^\n]+") do
    local source, at, name = match(line, "^%s*(.-):(%d+): in (.*)$")
    if source then
      frames[#frames + 1] = { source = source, line = tonumber(at), name = name }
    elseif sub(line, 1, 7) == "thread " then
      thread = sub(line, 8)
    end
  end
  return { thread = thread, frames = frames }
end

return errors
