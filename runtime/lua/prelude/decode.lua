-- The canonical value codec, reading side.
--
-- Needs: objects, errors; S.charge at run time, if there. Nothing here yields or runs code of users.
-- S.decode(bytes) -> v
-- S.decode_args(bytes) -> ...      all elements of the array, trailing nils included
-- S.decode_list(bytes) -> t, n     the same as a list and its length, which is t.n too
-- All raise an error of kind Invalid for bytes that are not of this codec.
local S = ...
local new_error, invalid = S.new_error, S.invalid
local byte, unpack = string.byte, string.unpack
local table_unpack = table.unpack
local error, pairs, pcall, type = error, pairs, pcall, type

local ERROR_EXT = 1
local LONG = 200 -- bytes from which on the work is charged, BYTE_COST instructions each
local BYTE_COST = 2

-- What a first byte stands for is in one of three tables: a value of its own; a layout for string.unpack, for
-- numbers and strings; or a reader(bytes, position) -> value, next position.
local CONSTANTS, LAYOUTS, READERS = {}, {}, {}

local function unknown(s, i)
  error(i > #s + 1 and "the bytes end too early" or "an unknown type byte", 0)
end

local function get(s, i)
  local b = byte(s, i)
  local v = CONSTANTS[b]
  if v ~= nil then
    return v, i + 1
  end
  local layout = LAYOUTS[b]
  if layout then
    return unpack(layout, s, i + 1)
  end
  return (READERS[b] or unknown)(s, i + 1)
end

-- The loops have `get` in line: most of what there is to read is in arrays and maps.

local function get_array(s, i, size)
  local t = {}
  for k = 1, size do
    local b = byte(s, i)
    local v = CONSTANTS[b]
    if v ~= nil then
      t[k], i = v, i + 1
    else
      local layout = LAYOUTS[b]
      if layout then
        t[k], i = unpack(layout, s, i + 1)
      else
        t[k], i = (READERS[b] or unknown)(s, i + 1)
      end
    end
  end
  return t, i
end

local function get_map(s, i, size)
  local t, k = {}, nil
  for _ = 1, size do
    local layout = LAYOUTS[byte(s, i)] -- most keys are strings
    if layout then
      k, i = unpack(layout, s, i + 1)
    else
      k, i = get(s, i)
    end
    t[k], i = get(s, i)
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
  return function(s, i) return reader(s, i, size) end
end

for b = 0x00, 0x7f do CONSTANTS[b] = b end
for b = 0xe0, 0xff do CONSTANTS[b] = b - 0x100 end
CONSTANTS[0xc2], CONSTANTS[0xc3] = false, true

for b = 0xa0, 0xbf do LAYOUTS[b] = "c" .. b - 0xa0 end
for b, layout in pairs({
  [0xc4] = ">s1", [0xc5] = ">s2", [0xc6] = ">s4", [0xd9] = ">s1", [0xda] = ">s2", [0xdb] = ">s4",
  [0xcb] = ">d", [0xcc] = ">I1", [0xcd] = ">I2", [0xce] = ">I4", [0xcf] = ">i8", -- never above 2^63 - 1
  [0xd0] = ">i1", [0xd1] = ">i2", [0xd2] = ">i4", [0xd3] = ">i8",
}) do LAYOUTS[b] = layout end

-- Bytes of a value that is nothing but its first byte, or a number.
local FIXED = { [0xcb] = 9, [0xcc] = 2, [0xcd] = 3, [0xce] = 5, [0xcf] = 9, [0xd0] = 2, [0xd1] = 3, [0xd2] = 5, [0xd3] = 9 }
for b in pairs(CONSTANTS) do FIXED[b] = 1 end

for b = 0x80, 0x8f do READERS[b] = function(s, i) return get_map(s, i, b - 0x80) end end
for b = 0x90, 0x9f do READERS[b] = function(s, i) return get_array(s, i, b - 0x90) end end
for b, reader in pairs({
  [0xc0] = function(_, i) return nil, i end,
  [0xc7] = sized(get_error, ">I1"), [0xc8] = sized(get_error, ">I2"), [0xc9] = sized(get_error, ">I4"),
  [0xd6] = fixed(get_error, 4), [0xd7] = fixed(get_error, 8), [0xd8] = fixed(get_error, 16),
  [0xdc] = sized(get_array, ">I2"), [0xdd] = sized(get_array, ">I4"),
  [0xde] = sized(get_map, ">I2"), [0xdf] = sized(get_map, ">I4"),
}) do READERS[b] = reader end

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
  local b = byte(s)
  if FIXED[b] == #s then
    local v = CONSTANTS[b]
    if v ~= nil then return v end
    return (unpack(LAYOUTS[b], s, 2))
  end
  if #s > LONG and S.charge then S.charge(BYTE_COST * #s) end
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

function S.decode_list(s)
  local t = checked(get_args, s)
  return t, t.n
end

function S.decode_args(s)
  local t = checked(get_args, s)
  return table_unpack(t, 1, t.n)
end
