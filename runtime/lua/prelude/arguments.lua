-- How the prelude looks at the arguments that user code gives it, and says what is wrong with them.
local S = ...
local type, tostring, error, pcall = type, tostring, error, pcall
local table_pack = table.pack
local format, sub = string.format, string.sub

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

-- Raise an error object at the caller's line.
function S.raise(kind, message)
  return error(S.new_error(kind, message), 0)
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
function S.try_encode_values(...) return try(S.pack_args, ...) end

-- The list and its length that argument bytes hold.
function S.decode_list(bytes)
  local values = table_pack(S.decode_args(bytes))
  return values, values.n
end
