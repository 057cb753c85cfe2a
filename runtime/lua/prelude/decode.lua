-- The canonical value codec, reading side.
--
-- Needs: objects, errors. Nothing here yields or runs code of users.
-- S.decode(bytes) -> v
-- S.decode_args(bytes) -> ...      all elements of the array, trailing nils included
-- Both raise an error of kind Invalid for bytes that are not of this codec.
local S = ...
local new_error, invalid = S.new_error, S.invalid
local byte, sub, unpack = string.byte, string.sub, string.unpack
local table_unpack = table.unpack
local error, pcall, type = error, pcall, type

local ERROR_EXT = 1

local get -- (bytes, position) -> value, next position

local function get_string(s, i, size)
  local after = i + size
  if after > #s + 1 then
    error("the bytes end too early", 0)
  end
  return sub(s, i, after - 1), after
end

local function get_array(s, i, size)
  local t = {}
  for k = 1, size do
    t[k], i = get(s, i)
  end
  return t, i
end

local function get_map(s, i, size)
  local t, k, v = {}, nil, nil
  for _ = 1, size do
    local b = byte(s, i)
    if b and b >= 0xa0 and b < 0xc0 then -- most keys are short strings
      k, i = get_string(s, i + 1, b - 0xa0)
    else
      k, i = get(s, i)
    end
    v, i = get(s, i)
    t[k] = v
  end
  return t, i
end

local function get_error(s, i, size)
  local tag, start = byte(s, i), i + 1
  local fields, after = get(s, start)
  if tag ~= ERROR_EXT or after ~= start + size then
    error("an extension that is not an error", 0)
  end
  return new_error(fields[1], fields[2], fields[3], fields[4], fields[5], fields[6]), after
end

local function sized(reader, layout)
  return function(s, i)
    local size, after = unpack(layout, s, i)
    return reader(s, after, size)
  end
end

local function fixed(reader, size)
  return function(s, i)
    return reader(s, i, size)
  end
end

local function number(layout)
  return function(s, i)
    return unpack(layout, s, i)
  end
end

local readers = {
  [0xc0] = function(_, i) return nil, i end,
  [0xc2] = function(_, i) return false, i end,
  [0xc3] = function(_, i) return true, i end,
  [0xc4] = sized(get_string, ">I1"),
  [0xc5] = sized(get_string, ">I2"),
  [0xc6] = sized(get_string, ">I4"),
  [0xc7] = sized(get_error, ">I1"),
  [0xc8] = sized(get_error, ">I2"),
  [0xc9] = sized(get_error, ">I4"),
  [0xcb] = number(">d"),
  [0xcc] = number(">I1"),
  [0xcd] = number(">I2"),
  [0xce] = number(">I4"),
  [0xcf] = number(">i8"), -- never above 2^63 - 1
  [0xd0] = number(">i1"),
  [0xd1] = number(">i2"),
  [0xd2] = number(">i4"),
  [0xd3] = number(">i8"),
  [0xd6] = fixed(get_error, 4),
  [0xd7] = fixed(get_error, 8),
  [0xd8] = fixed(get_error, 16),
  [0xd9] = sized(get_string, ">I1"),
  [0xda] = sized(get_string, ">I2"),
  [0xdb] = sized(get_string, ">I4"),
  [0xdc] = sized(get_array, ">I2"),
  [0xdd] = sized(get_array, ">I4"),
  [0xde] = sized(get_map, ">I2"),
  [0xdf] = sized(get_map, ">I4"),
}

function get(s, i)
  local b = byte(s, i)
  if not b then
    error("the bytes end too early", 0)
  elseif b < 0x80 then
    return b, i + 1
  elseif b < 0x90 then
    return get_map(s, i + 1, b - 0x80)
  elseif b < 0xa0 then
    return get_array(s, i + 1, b - 0x90)
  elseif b < 0xc0 then
    return get_string(s, i + 1, b - 0xa0)
  elseif b >= 0xe0 then
    return b - 0x100, i + 1
  end
  local reader = readers[b]
  if not reader then
    error("an unknown type byte", 0)
  end
  return reader(s, i + 1)
end

local function get_all(s)
  local v, after = get(s, 1)
  if after ~= #s + 1 then
    error("bytes are left over", 0)
  end
  return v
end

local function checked(reader, s)
  local ok, v = pcall(reader, s)
  if ok then
    return v
  elseif type(v) == "string" and v ~= "not enough memory" then
    error(invalid("not a value of this runtime: " .. v), 0)
  end
  error(v, 0) -- not ours to swallow: the runtime's kill
end

function S.decode(s)
  return (checked(get_all, s))
end

local function get_args(s)
  local b, size, i = byte(s, 1), 0, 2
  if b and b >= 0x90 and b < 0xa0 then
    size = b - 0x90
  elseif b == 0xdc then
    size, i = unpack(">I2", s, 2)
  elseif b == 0xdd then
    size, i = unpack(">I4", s, 2)
  else
    error("a list of arguments was expected", 0)
  end
  local t, after = get_array(s, i, size)
  if after ~= #s + 1 then
    error("bytes are left over", 0)
  end
  t.n = size
  return t
end

function S.decode_args(s)
  local t = checked(get_args, s)
  return table_unpack(t, 1, t.n)
end
