-- The canonical value codec, writing side: msgpack, byte for byte what runtime/codec.py writes.
--
-- One value has one encoding: integers in their shortest form, floats always as float64, map keys
-- sorted (numbers by value, then strings bytewise, then false and true), strings that are UTF-8 as str
-- and others as bin. A table with keys exactly 1..n is an array, an empty one too; every other table
-- is a map. What a plain user metatable says is ignored. Errors are ext type 1 with the body [kind,
-- message, retryable, details, context, trace]; objects with `mt.__data` (see objects) travel as that data.
-- Functions, coroutines, userdata and all other objects become nil, and so vanish from maps.
--
-- Needs: objects, errors, payload_faults; S.charge at run time, if there. Nothing here yields or runs code of users.
-- S.encode(v) -> bytes
-- S.encode_args(n, ...) -> bytes   an array of exactly n elements, trailing nils included
-- S.pack_args(...) -> bytes        the same with n = select("#", ...)
-- S.pack_few(...) -> bytes | nil   the same for two at most, and no tables: for those it never raises
-- S.sort_strings(list, n): sorts list[1..n] bytewise, in place; nothing may follow
-- S.enc_int(i), S.enc_bin(s), S.enc_arr_header(n) -> bytes, for writing commands, and for texts, whatever their bytes:
--     S.str_header[n] | nil, S.long_header(n, 0xda, 0xdb)
--
-- Raises error objects of kind Invalid: a key that is no number, string or boolean; a cyclic table;
-- nesting deeper than 100; more than 4 million values.
local S = ...
local own, error_fields = S.own, S.error_fields
local getmetatable = debug.getmetatable
local byte, char, pack = string.byte, string.char, string.pack
local concat, sort = table.concat, table.sort
local math_type, utf8_len = math.type, utf8.len
local next, rawget, rawlen, select, type = next, rawget, rawlen, select, type

local MAX_DEPTH, MAX_VALUES = S.max_depth, S.max_values
local MANY = 20 -- pieces from which on the work is charged, PIECE_COST instructions each
local PIECE_COST = 10
local KEEP_PIECES = 4096 -- a larger buffer is given back to the collector
local ERROR_EXT = 1
local SCALAR = { string = true, number = true, boolean = true }

local root -- the value being encoded, for its refusal

local function fail()
  local v = root
  root = nil
  S.refuse_payload(v)
end

-- Scalars ---------------------------------------------------------------------------------------

local small = {} -- encodings of -32 .. 255
for i = -32, 255 do
  small[i] = i < 0 and char(256 + i) or i < 128 and char(i) or "\xcc" .. char(i)
end
local str_header, bin_header, array_header, map_header = {}, {}, {}, {}
for n = 0, 255 do
  str_header[n] = n < 32 and char(0xa0 + n) or "\xd9" .. char(n)
  bin_header[n] = "\xc4" .. char(n)
end
for n = 0, 15 do
  array_header[n], map_header[n] = char(0x90 + n), char(0x80 + n)
end

local function enc_int(i)
  local short = small[i]
  if short then
    return short
  elseif i >= 0 then
    if i <= 0xffff then
      return pack(">BI2", 0xcd, i)
    elseif i <= 0xffffffff then
      return pack(">BI4", 0xce, i)
    end
    return pack(">Bi8", 0xcf, i)
  elseif i >= -0x80 then
    return pack(">Bi1", 0xd0, i)
  elseif i >= -0x8000 then
    return pack(">Bi2", 0xd1, i)
  elseif i >= -0x80000000 then
    return pack(">Bi4", 0xd2, i)
  end
  return pack(">Bi8", 0xd3, i)
end

local function long_header(n, two, four)
  if n <= 0xffff then
    return pack(">BI2", two, n)
  end
  return pack(">BI4", four, n)
end

local function string_header(s)
  local n = #s
  if utf8_len(s) then
    return str_header[n] or long_header(n, 0xda, 0xdb)
  end
  return bin_header[n] or long_header(n, 0xc5, 0xc6)
end

local function enc_str(s)
  return string_header(s) .. s
end

local function enc_bin(s)
  return (bin_header[#s] or long_header(#s, 0xc5, 0xc6)) .. s
end

local function enc_arr_header(n)
  return array_header[n] or long_header(n, 0xdc, 0xdd)
end

S.enc_int, S.enc_bin, S.enc_arr_header = enc_int, enc_bin, enc_arr_header
S.str_header, S.long_header = str_header, long_header

-- Map keys come again and again: keep the encodings of the short ones.
local key_cache, key_cached = {}, 0

local function enc_key(k)
  local bytes = key_cache[k]
  if bytes then
    return bytes
  end
  bytes = enc_str(k)
  if #k <= 40 then
    if key_cached >= 2000 then
      key_cache, key_cached = {}, 0
    end
    key_cache[k], key_cached = bytes, key_cached + 1
  end
  return bytes
end

-- Order of keys ---------------------------------------------------------------------------------

local function bytewise(a, b)
  local i = 1
  while true do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y or not x then
      return y and (not x or x < y) or false
    end
    i = i + 1
  end
end

-- `<` follows the collation of the process, which a library may have changed from
-- that of C: only there "a" does not come before "B".
local function sort_strings(keys, n)
  if "a" < "B" then
    sort(keys, bytewise)
  elseif n > 12 then
    sort(keys)
  else
    for i = 2, n do
      local k, j = keys[i], i - 1
      while j > 0 and k < keys[j] do
        keys[j + 1] = keys[j]
        j = j - 1
      end
      keys[j + 1] = k
    end
  end
end

S.sort_strings = sort_strings

-- Encoding --------------------------------------------------------------------------------------

-- True for what becomes nil on its way.
local function lost(v)
  if type(v) ~= "table" then
    return not SCALAR[type(v)]
  end
  local mt = getmetatable(v)
  local object = mt and own[mt]
  return object and object ~= "error" and (not mt.__data or lost(mt.__data(v)))
end

-- The length of t when its keys are exactly 1..length, else nil.
local function array_length(t)
  local length, count = rawlen(t), 0
  if length == 0 then
    return next(t) == nil and 0 or nil
  end
  for _ in next, t do
    count = count + 1
  end
  if count ~= length then
    return nil
  end
  for i = 1, length do
    if rawget(t, i) == nil then
      return nil
    end
  end
  return length
end

-- True when keys[1..size], sorted, are 1..size. They were not before functions vanished from the table.
local function is_sequence(keys, size)
  for i = 1, size do
    if keys[i] ~= i then
      return false
    end
  end
  return true
end

local buf, n = {}, 0 -- pieces of what is being encoded
local put

local function put_array(t, length, depth)
  n = n + 1
  buf[n] = array_header[length] or long_header(length, 0xdc, 0xdd)
  for i = 1, length do
    put(rawget(t, i), depth)
  end
end

local function put_pair(t, k, depth)
  n = n + 1
  if k == true or k == false then
    buf[n] = k and "\xc3" or "\xc2"
  else
    buf[n] = math_type(k) == "integer" and enc_int(k) or pack(">Bd", 0xcb, k)
  end
  put(rawget(t, k), depth)
end

-- A map with keys that are not strings. `strings[1..count]` are those that are.
local function put_mixed(t, strings, count, depth)
  local numbers, size = {}, 0
  for k, v in next, t do
    if math_type(k) and not lost(v) then
      size = size + 1
      numbers[size] = k
    end
  end
  sort(numbers)
  local no, yes = not lost(rawget(t, false)), not lost(rawget(t, true))
  local total = count + size + (no and 1 or 0) + (yes and 1 or 0)
  if total == size and is_sequence(numbers, size) then
    return put_array(t, size, depth)
  end
  n = n + 1
  buf[n] = map_header[total] or long_header(total, 0xde, 0xdf)
  for i = 1, size do
    put_pair(t, numbers[i], depth)
  end
  sort_strings(strings, count)
  for i = 1, count do
    local k = strings[i]
    n = n + 1
    buf[n] = enc_key(k)
    put(rawget(t, k), depth)
  end
  if no then
    put_pair(t, false, depth)
  end
  if yes then
    put_pair(t, true, depth)
  end
end

local function put_map(t, depth)
  local strings, count, mixed = {}, 0, false
  for k, v in next, t do
    local kind = type(k)
    if kind == "string" then
      if SCALAR[type(v)] or not lost(v) then
        count = count + 1
        strings[count] = k
      end
    elseif SCALAR[kind] then
      mixed = true
    else
      fail()
    end
  end
  if mixed or count == 0 then
    return put_mixed(t, strings, count, depth)
  end
  sort_strings(strings, count)
  local at, out, cache = n + 1, buf, key_cache
  out[at] = map_header[count] or long_header(count, 0xde, 0xdf)
  for i = 1, count do
    local k = strings[i]
    out[at + 1] = cache[k] or enc_key(k)
    local v = rawget(t, k)
    local kind = type(v)
    if kind == "string" then -- scalars as in put, without the call
      out[at + 2] = string_header(v)
      at = at + 3
      out[at] = v
    elseif kind == "number" then
      at = at + 2
      out[at] = math_type(v) == "integer" and (small[v] or enc_int(v)) or pack(">Bd", 0xcb, v)
    else
      n = at + 1
      put(v, depth)
      at = n
    end
  end
  n = at
end

local function ext_header(length)
  if length == 4 or length == 8 or length == 16 then -- an error's body has at least 6 bytes
    return char(length == 4 and 0xd6 or length == 8 and 0xd7 or 0xd8, ERROR_EXT)
  elseif length <= 0xff then
    return char(0xc7, length, ERROR_EXT)
  end
  return long_header(length, 0xc8, 0xc9) .. char(ERROR_EXT)
end

local function put_error(e, depth)
  local kind, message, retryable, details, context, trace = error_fields(e)
  n = n + 1
  local header = n
  n = n + 1
  buf[n] = "\x96"
  put(kind, depth)
  put(message, depth)
  put(retryable, depth)
  put(details, depth)
  put(context, depth)
  put(trace, depth)
  local length = 0
  for i = header + 1, n do
    length = length + #buf[i]
  end
  buf[header] = ext_header(length)
end

local function put_table(t, depth)
  local mt = getmetatable(t)
  local object = mt and own[mt]
  if object == "error" then
    return put_error(t, depth)
  elseif object then
    return put(mt.__data and mt.__data(t), depth)
  elseif depth == MAX_DEPTH then
    return fail()
  elseif n > MAX_VALUES then
    return S.refuse_size()
  end
  local length = array_length(t)
  if length then
    return put_array(t, length, depth + 1)
  end
  return put_map(t, depth + 1)
end

function put(v, depth)
  local kind = type(v)
  if kind == "string" then
    buf[n + 1] = string_header(v)
    n = n + 2
    buf[n] = v
  elseif kind == "number" then
    n = n + 1
    buf[n] = math_type(v) == "integer" and (small[v] or enc_int(v)) or pack(">Bd", 0xcb, v)
  elseif kind == "table" then
    return put_table(v, depth)
  else
    n = n + 1
    buf[n] = kind == "boolean" and (v and "\xc3" or "\xc2") or "\xc0"
  end
end

-- The pieces written so far, as one string.
local function finish()
  local bytes = concat(buf, "", 1, n)
  if n > KEEP_PIECES or #bytes > 65536 then
    buf = {}
  end
  root = nil
  if n > MANY and S.charge then S.charge(PIECE_COST * n) end
  return bytes
end

-- The bytes of what is no table, else nil.
local function scalar(v)
  local kind = type(v)
  if kind == "string" then
    return enc_str(v)
  elseif kind == "number" then
    return math_type(v) == "integer" and (small[v] or enc_int(v)) or pack(">Bd", 0xcb, v)
  elseif kind ~= "table" then
    return kind == "boolean" and (v and "\xc3" or "\xc2") or "\xc0"
  end
end

function S.encode(v)
  local bytes = scalar(v)
  if bytes then
    return bytes
  end
  root, n = v, 0
  put(v, 0)
  return finish()
end

function S.encode_args(count, ...)
  local args = { ... }
  n = 1
  buf[1] = enc_arr_header(count)
  for i = 1, count do
    root = args[i]
    put(root, 0)
  end
  return finish()
end

function S.pack_few(...)
  local count = select("#", ...)
  if count > 2 then
    return nil
  end
  local a, b = ...
  a, b = scalar(a), scalar(b)
  if a and b then
    return count == 2 and "\x92" .. a .. b or count == 1 and "\x91" .. a or "\x90"
  end
end

function S.pack_args(...)
  return S.pack_few(...) or S.encode_args(select("#", ...), ...)
end
