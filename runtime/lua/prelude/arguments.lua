-- How the prelude looks at the arguments that user code gives it, and says what is wrong with them.
local S = ...
local type, tostring, error, pcall, select = type, tostring, error, pcall, select
local format, sub, utf8_len = string.format, string.sub, utf8.len
local pack_few = S.pack_few

-- Whether a value is a text that can name something: not empty, and in UTF-8, as Python's are.
function S.is_text(value)
  return type(value) == "string" and value ~= "" and utf8_len(value) ~= nil
end

-- A value as an error message shows it: short, and without addresses.
function S.show(value)
  local kind = type(value)
  if kind == "string" then
    if #value > 40 then value = sub(value, 1, 37) .. "..." end
    return format("%q", value)
  elseif kind == "table" then
    return S.own_name(value) or "a table"
  elseif kind == "number" or kind == "boolean" or kind == "nil" then
    return tostring(value)
  end
  return "a " .. kind
end

-- The error of a wrong argument.
function S.bad_argument(where, argument, wanted, got)
  return S.new_error("Invalid", where .. ": " .. argument .. " must be " .. wanted .. ", got " .. S.show(got))
end

-- The error of a nested check, with the place that user code called in front.
function S.error_in(where, err)
  return S.new_error("Invalid", where .. ": " .. err:message())
end

-- Raise an error object that knows where user code stands.
function S.raise(kind, message)
  return error(S.new_error(kind, message, nil, nil, nil, S.trace(2)), 0)
end

-- The value, or nil and the error that `f` raised for it; what is not an error of ours (KILL) goes on.
local function try(f, ...)
  local ok, value = pcall(f, ...)
  if ok then return value, nil end
  if not S.is_error(value) then error(value, 0) end
  return nil, value
end

-- A copy for another slot; nil, err for what cannot be sent.
function S.try_copy(value) return try(S.copy, value) end

-- The values as the bytes of an argument list; nil, err for what cannot be sent.
function S.try_encode_values(...)
  local bytes = pack_few(...)
  if bytes then return bytes, nil end
  return try(S.encode_args, select("#", ...), ...)
end

local function is_plain_table(value) return type(value) == "table" and not S.own_name(value) end

-- Argument bytes as S.deliver takes them: how many, the one or the list of them, whether it is one table.
function S.decode_payload(bytes)
  local values, count = S.decode_list(bytes)
  if count > 1 then
    values.n = nil
    return count, values, false
  end
  return count, values[1], is_plain_table(values[1])
end

local SCALAR = { string = true, number = true, boolean = true, ["nil"] = true }

local NONE = {}

-- Copies of values for another slot: how many, and the list of them; or nil and the error.
function S.copy_values(...)
  local count = select("#", ...)
  if count == 0 then return 0, NONE end
  local values = { ... }
  for i = 1, count do
    local value = values[i]
    if not SCALAR[type(value)] then
      local copied, err = S.try_copy(value)
      if err then return nil, err end
      values[i] = copied
    end
  end
  return count, values
end

-- The same as S.deliver takes it.
function S.copy_payload(...)
  local count = select("#", ...)
  if count > 1 then
    local values
    count, values = S.copy_values(...)
    return count, values, false
  end
  local value = ...
  if SCALAR[type(value)] then return count, value, false end
  local copied, err = S.try_copy(value)
  if err then return nil, err end
  return 1, copied, is_plain_table(copied)
end
