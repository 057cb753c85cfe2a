-- The module `yaml`: encode and decode one document.
--
-- encode(value, {field_order = {…}}?) -> text | nil, err. Block style, keys sorted, those in field_order first.
--     Objects are what they are in JSON: times RFC 3339 text, errors, durations and locations their text,
--     messages and payloads their data. Functions and other objects, and texts that are not UTF-8, are INTERNAL.
-- decode(text) -> value, nil | nil, err INVALID with the line. null leaves no trace in a map.
local S = ...
local next, type, error = next, type, error
local getmetatable = debug.getmetatable

local MAX_DEPTH = S.max_depth

-- A copy with the objects of ours as what YAML has for them.
local function plain(value, depth)
  local kind = type(value)
  if kind ~= "table" then
    if kind == "function" or kind == "thread" or kind == "userdata" then
      error(S.new_error("Internal", "YAML has no form for a " .. kind), 0)
    end
    return value
  elseif depth > MAX_DEPTH then
    error(S.new_error("Internal", "tables are nested deeper than " .. MAX_DEPTH .. ", or contain themselves"), 0)
  end
  if S.own_name(value) then
    local text, data = S.object_text(value), getmetatable(value).__data
    if text then return text end
    if data then return plain(data(value), depth + 1) end
    error(S.new_error("Internal", "YAML has no form for a " .. S.own_name(value)), 0)
  end
  local copy = {}
  for key, item in next, value do copy[key] = plain(item, depth + 1) end
  return copy
end

local function encode(value, first)
  return S.yaml_encode(S.encode(plain(value, 0)), S.encode(first))
end

-- The list in options.field_order, or nil and what is wrong.
local function field_order(options)
  if options == nil then return {} end
  if type(options) ~= "table" or S.own_name(options) then
    return nil, S.bad_argument("yaml.encode", "options", "a table", options)
  end
  local order = options.field_order
  if order == nil then return {} end
  if type(order) ~= "table" or S.own_name(order) then
    return nil, S.bad_argument("yaml.encode", "field_order", "a list of keys", order)
  end
  for i = 1, #order do
    if type(order[i]) ~= "string" then return nil, S.bad_argument("yaml.encode", "field_order", "a list of texts", order) end
  end
  return order
end

S.modules.yaml = {
  encode = function(value, options)
    local first, err = field_order(options)
    if not first then return nil, err end
    return S.attempt("yaml.encode", encode, value, first)
  end,
  decode = function(text)
    if type(text) ~= "string" or text == "" then
      return nil, S.bad_argument("yaml.decode", "the argument", "text", text)
    end
    local bytes, err = S.attempt("yaml.decode", S.yaml_decode, text)
    if not bytes then return nil, err end
    return S.decode(bytes), nil
  end,
}
