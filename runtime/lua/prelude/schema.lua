-- The part of the module `json` that checks data against a JSON Schema.
--
-- validate(schema, data), validate_string(schema, text) -> true, nil | false, err INVALID | nil, err
--     schema: a table, or JSON text. false: the data does not fit; details() of the error is a list of
--     {path, message}. nil: the schema itself is wrong, or takes too long.
local S = ...
local type = type
local json = S.modules.json

local function validate(where, schema, data, is_text)
  if type(schema) ~= "string" and (type(schema) ~= "table" or S.own_name(schema)) or schema == "" then
    return nil, S.bad_argument(where, "the schema", "a table or JSON text", schema)
  end
  local encoded, err = S.attempt(where, S.encode, schema)
  if not encoded then return nil, err end
  local bytes
  bytes, err = S.attempt(where, S.validate_schema, encoded, data, is_text)
  if not bytes then return nil, err end
  local problems = S.decode(bytes)
  if #problems == 0 then return true, nil end
  local first = problems[1]
  return false, S.new_error("Invalid", where .. ": " .. first.path .. ": " .. first.message, false, problems)
end

function json.validate(schema, data)
  local encoded, err = S.attempt("json.validate", S.encode, data)
  if not encoded then return nil, err end
  return validate("json.validate", schema, encoded, false)
end

function json.validate_string(schema, text)
  if type(text) ~= "string" or text == "" then
    return nil, S.bad_argument("json.validate_string", "the data", "JSON text", text)
  end
  return validate("json.validate_string", schema, text, true)
end
