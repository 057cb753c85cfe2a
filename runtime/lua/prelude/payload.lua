-- The module `payload`: values with a format, and their way from one format to another.
--
-- new(value, format = payload.format.LUA) -> payload | nil, err
-- p:get_format() -> text; p:data() -> what it holds: a value for LUA, a text for all others
-- p:transcode(format) -> payload | nil, err; p:unmarshal() -> value, nil | nil, err
-- A payload that is sent arrives as what its data() is.
local S = ...
local type = type

local FORMATS = {
  LUA = "lua/any", JSON = "json/plain", YAML = "yaml/plain", STRING = "text/plain",
  BYTES = "application/octet-stream", MSGPACK = "application/msgpack",
}

local function as_text(value)
  if type(value) == "string" then return value, nil end
  return nil, S.new_error("Invalid", "only a text has this format, got " .. S.show(value))
end

-- [format] = {write (value) -> text | nil, err; read (text) -> value | nil, err}
local text = { write = as_text, read = as_text }
local CODECS = {
  [FORMATS.JSON] = { write = S.modules.json.encode, read = S.modules.json.decode },
  [FORMATS.YAML] = { write = S.modules.yaml.encode, read = S.modules.yaml.decode },
  [FORMATS.MSGPACK] = {
    write = function(value) return S.attempt("payload", S.encode, value) end,
    read = function(bytes) return S.attempt("payload", S.decode, bytes) end,
  },
  [FORMATS.STRING] = text,
  [FORMATS.BYTES] = text,
}

local function wrong_format(where, format)
  if format ~= FORMATS.LUA and not CODECS[format] then
    return S.bad_argument(where, "format", "one of payload.format, such as payload.format.JSON", format)
  end
end

local function unmarshal(payload)
  local format, data = S.payload_format(payload), payload:data()
  if format == FORMATS.LUA then return data, nil end
  return CODECS[format].read(data)
end

function S.payload_methods.unmarshal(payload)
  S.check_payload(payload, "unmarshal")
  return unmarshal(payload)
end

function S.payload_methods.transcode(payload, format)
  S.check_payload(payload, "transcode")
  local err = wrong_format("payload:transcode", format)
  if err then return nil, err end
  if format == S.payload_format(payload) then return payload, nil end
  local value
  value, err = unmarshal(payload)
  if err then return nil, err end
  if format ~= FORMATS.LUA then
    value, err = CODECS[format].write(value)
    if err then return nil, err end
  end
  return S.new_payload(value, format)
end

S.modules.payload = {
  format = FORMATS,
  new = function(value, format)
    if format == nil then format = FORMATS.LUA end
    local err = wrong_format("payload.new", format)
    if not err and format ~= FORMATS.LUA and type(value) ~= "string" then
      err = S.bad_argument("payload.new", "the value", "a text in the format " .. format, value)
    end
    if err then return nil, err end
    return S.new_payload(value, format)
  end,
}
