-- The module `json`: encode and decode.
--
-- Needs: objects, errors, arguments, codec.
-- encode(v) -> text | nil, err. nil is "null", {} is "[]", keys 1..n make an array, keys that are strings an
--     object with sorted keys. Integers and floats stay what they are: 1 is "1", 1.0 is "1.0". Times are
--     RFC 3339 text, errors, durations and locations their text, messages and payloads their data.
--     What JSON has no form for is INTERNAL: arrays with holes, other keys, cyclic tables, nesting
--     deeper than 128, functions and other objects, NaN and infinities, strings that are not UTF-8.
-- decode(text) -> value, nil | nil, err INVALID with line and column. null is nil, so it leaves no trace in an
--     object. Integers beyond 64 bits become floats; a lone surrogate becomes U+FFFD.
local S = ...
local getmetatable = debug.getmetatable
local byte, char, find, format = string.byte, string.char, string.find, string.format
local gmatch, gsub, match, sub = string.gmatch, string.gsub, string.match, string.sub
local concat = table.concat
local huge, math_type = math.huge, math.type
local utf8_char, utf8_len = utf8.char, utf8.len
local error, next, pcall, rawget = error, next, pcall, rawget
local tonumber, tostring, type = tonumber, tostring, type
local own, sort_strings = S.own, S.sort_strings

local MAX_DEPTH = 128
local RFC3339NANO = "2006-01-02T15:04:05.999999999Z07:00"

-- Failures leave the recursion as this table, and the text is made outside.
local failure = {}

local function fail(problem)
  failure.problem = problem
  error(failure, 0)
end

-- Encoding ----------------------------------------------------------------------------------------

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }
for code = 0, 31 do
  local c = char(code)
  ESCAPES[c] = ESCAPES[c] or format("\\u%04x", code)
end

local function quoted(s)
  if not utf8_len(s) then
    fail("a string that is not UTF-8: encode it first, with base64 for example")
  end
  return '"' .. gsub(s, '[\0-\31"\\]', ESCAPES) .. '"'
end

-- The shortest text that reads back as the same float, and as a float.
local function float(v)
  if v ~= v or v == huge or v == -huge then
    fail("the number " .. tostring(v))
  end
  local text
  for digits = 15, 17 do
    text = format("%." .. digits .. "g", v)
    if tonumber(text) == v then
      break
    end
  end
  text = gsub(text, ",", ".") -- the decimal point of the process's locale
  return find(text, "[.e]") and text or text .. ".0"
end

local put

local function put_array(t, length, out, depth, above)
  out[#out + 1] = "["
  for i = 1, length do
    if i > 1 then
      out[#out + 1] = ","
    end
    put(rawget(t, i), out, depth, above)
  end
  out[#out + 1] = "]"
end

local function put_object(t, keys, count, out, depth, above)
  sort_strings(keys, count)
  for i = 1, count do
    out[#out + 1] = i == 1 and "{" or ","
    out[#out + 1] = quoted(keys[i])
    out[#out + 1] = ":"
    put(rawget(t, keys[i]), out, depth, above)
  end
  out[#out + 1] = "}"
end

local function put_table(t, out, depth, above)
  if above[t] then
    fail("a table that contains itself")
  elseif depth == MAX_DEPTH then
    fail("nesting deeper than " .. MAX_DEPTH)
  end
  above[t] = true
  local keys, strings, numbers = {}, 0, 0
  for k in next, t do
    if type(k) == "string" then
      strings = strings + 1
      keys[strings] = k
    elseif math_type(k) == "integer" and k > 0 then
      numbers = numbers + 1
    else
      fail("a table with a key that is neither a string nor a position")
    end
  end
  if strings == 0 then
    for i = 1, numbers do
      if rawget(t, i) == nil then
        fail("a sparse array: position " .. i .. " of " .. numbers .. " values is empty")
      end
    end
    put_array(t, numbers, out, depth + 1, above)
  elseif numbers > 0 then
    fail("a table with both strings and positions as keys")
  else
    put_object(t, keys, strings, out, depth + 1, above)
  end
  above[t] = nil
end

-- What stands for one of our objects where only plain data can: text, or nil.
function S.object_text(v)
  local mt = getmetatable(v)
  local name = own[mt]
  if name == "time" then
    return mt.__index.format(v, RFC3339NANO)
  elseif name == "error" or name == "duration" or name == "location" then
    return mt.__tostring(v)
  end
  return nil
end

local function put_own(v, name, mt, out, depth, above)
  local text = S.object_text(v)
  if text then
    out[#out + 1] = quoted(text)
  elseif mt.__data then
    put(mt.__data(v), out, depth, above)
  else
    fail("a " .. name)
  end
end

function put(v, out, depth, above)
  local kind = type(v)
  if kind == "string" then
    out[#out + 1] = quoted(v)
  elseif kind == "number" then
    out[#out + 1] = math_type(v) == "integer" and format("%d", v) or float(v)
  elseif kind == "boolean" then
    out[#out + 1] = v and "true" or "false"
  elseif kind == "nil" then
    out[#out + 1] = "null"
  elseif kind == "table" then
    local mt = getmetatable(v)
    local name = mt and own[mt]
    if name then
      put_own(v, name, mt, out, depth, above)
    else
      put_table(v, out, depth, above)
    end
  else
    fail("a " .. kind)
  end
end

local json = {}

function json.encode(v)
  local out = {}
  local ok, problem = pcall(put, v, out, 0, {})
  if ok then
    return concat(out), nil
  elseif problem ~= failure then
    error(problem, 0) -- not ours to swallow: the runtime's kill
  end
  return nil, S.new_error("Internal", "json.encode: JSON has no form for " .. failure.problem)
end

-- Decoding ----------------------------------------------------------------------------------------

local get -- (text, position, depth) -> value, position after it

local function fail_at(at, problem)
  failure.at = at
  fail(problem)
end

local function skip(s, i)
  return find(s, "[^ \n\r\t]", i) or #s + 1
end

local UNESCAPED = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

-- The character of a \u escape whose digits start at i, position after it.
local function unicode(s, i)
  local code = tonumber(match(s, "^%x%x%x%x", i) or "", 16)
  if not code then
    fail_at(i, "four hexadecimal digits were expected after \\u")
  elseif code >= 0xd800 and code < 0xdc00 then
    local low = tonumber(match(s, "^\\u(%x%x%x%x)", i + 4) or "", 16)
    if low and low >= 0xdc00 and low < 0xe000 then
      return utf8_char(0x10000 + (code - 0xd800 << 10) + (low - 0xdc00)), i + 10
    end
  end
  if code >= 0xd800 and code < 0xe000 then
    code = 0xfffd
  end
  return utf8_char(code), i + 4
end

-- The string whose text starts at i, behind the quote.
local function get_string(s, i)
  local parts, count, from = nil, 0, i
  while true do
    local at = find(s, '[%c"\\]', i)
    local c = at and byte(s, at)
    if not c then
      fail_at(from - 1, "this string has no end")
    elseif c == 0x22 then
      local rest = sub(s, i, at - 1)
      return parts and concat(parts, "", 1, count) .. rest or rest, at + 1
    elseif c == 0x5c then
      parts = parts or {}
      local letter, text, after = sub(s, at + 1, at + 1), nil, at + 2
      if letter == "u" then
        text, after = unicode(s, after)
      else
        text = UNESCAPED[letter] or fail_at(at, "an unknown escape in a string")
      end
      parts[count + 1], parts[count + 2] = sub(s, i, at - 1), text
      count, i = count + 2, after
    elseif c == 0x7f then -- a control character for Lua, not for JSON
      parts = parts or {}
      parts[count + 1] = sub(s, i, at)
      count, i = count + 1, at + 1
    else
      fail_at(at, "a control character in a string: write it as an escape")
    end
  end
end

local function get_array(s, i, depth)
  local t, count = {}, 0
  i = skip(s, i)
  if byte(s, i) == 0x5d then
    return t, i + 1
  end
  while true do
    count = count + 1
    t[count], i = get(s, i, depth)
    i = skip(s, i)
    local c = byte(s, i)
    if c == 0x5d then
      return t, i + 1
    elseif c ~= 0x2c then
      fail_at(i, "expected ',' or ']' in an array")
    end
    i = skip(s, i + 1)
  end
end

local function get_object(s, i, depth)
  local t = {}
  i = skip(s, i)
  if byte(s, i) == 0x7d then
    return t, i + 1
  end
  while true do
    local key
    if byte(s, i) ~= 0x22 then
      fail_at(i, "expected a key in double quotes")
    end
    key, i = get_string(s, i + 1)
    i = skip(s, i)
    if byte(s, i) ~= 0x3a then
      fail_at(i, "expected ':' after a key")
    end
    t[key], i = get(s, skip(s, i + 1), depth)
    i = skip(s, i)
    local c = byte(s, i)
    if c == 0x7d then
      return t, i + 1
    elseif c ~= 0x2c then
      fail_at(i, "expected ',' or '}' in an object")
    end
    i = skip(s, i + 1)
  end
end

local function get_number(s, i)
  local whole, after = match(s, "^(-?%d+)()", i)
  if not whole or find(whole, "^-?0%d") then
    fail_at(i, whole and "a number with a leading zero" or "expected a value")
  end
  local fraction = match(s, "^%.%d+()", after)
  local exponent = match(s, "^[eE][-+]?%d+()", fraction or after)
  local ending = exponent or fraction or after
  if find(s, "^[%w.]", ending) then
    fail_at(i, "a malformed number")
  end
  return tonumber(sub(s, i, ending - 1)), ending
end

local WORDS = { t = { "true", true }, f = { "false", false }, n = { "null", nil } }

function get(s, i, depth)
  local c = byte(s, i)
  if c == 0x22 then
    return get_string(s, i + 1)
  elseif c == 0x7b or c == 0x5b then
    if depth == MAX_DEPTH then
      fail_at(i, "nesting deeper than " .. MAX_DEPTH)
    end
    return (c == 0x7b and get_object or get_array)(s, i + 1, depth + 1)
  end
  local word = WORDS[sub(s, i, i)]
  if word and sub(s, i, i + #word[1] - 1) == word[1] then
    return word[2], i + #word[1]
  elseif not c then
    fail_at(i, "the text ends too early")
  end
  return get_number(s, i)
end

local function get_text(s)
  local v, i = get(s, skip(s, 1), 0)
  i = skip(s, i)
  if i <= #s then
    fail_at(i, "text after the value")
  end
  return v
end

local function place(s, at)
  local line, start = 1, 1
  for after in gmatch(sub(s, 1, at - 1), "\n()") do
    line, start = line + 1, after
  end
  return "line " .. line .. ", column " .. at - start + 1
end

function json.decode(s)
  if type(s) ~= "string" or s == "" then
    return nil, S.bad_argument("json.decode", "the argument", "text", s)
  end
  local length, bad_byte = utf8_len(s)
  if not length then
    return nil, S.new_error("Invalid", "json.decode: the text is not UTF-8 at " .. place(s, bad_byte))
  end
  local ok, v = pcall(get_text, s)
  if ok then
    return v, nil
  elseif v ~= failure then
    error(v, 0) -- not ours to swallow: the runtime's kill
  end
  return nil, S.new_error("Invalid", "json.decode: " .. failure.problem .. " at " .. place(s, failure.at))
end

return json
