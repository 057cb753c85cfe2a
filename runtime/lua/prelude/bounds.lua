-- Library functions that take sizes from user code, with limits, since nothing counts inside C.
--
-- Needs: objects. Returns {rep, concat, insert, remove, move, sort}: `rep` for `string`, the others for
-- `table`. table.unpack needs none: C refuses more than a million results.
-- A string above 64 MiB and a range of more than ten million elements are refused; a table whose length
-- is what a metamethod says is handled in Lua. `sort` is a merge sort in Lua: Lua's own takes pivots
-- from the clock, so that elements which compare equal could come out differently on a replay. This
-- one keeps their order, and its comparison may yield.
local S = ...
local getmetatable = debug.getmetatable
local gsub, rep = string.gsub, string.rep
local concat, insert, move, remove = table.concat, table.insert, table.move, table.remove
local math_type, tointeger = math.type, math.tointeger
local error, pcall, rawget, select = error, pcall, rawget, select
local tonumber, tostring, type = tonumber, tostring, type

local MAX_TEXT = 64 * 1024 * 1024
local MAX_ELEMENTS = 10000000
local OUT_OF_MEMORY = "not enough memory" -- raised by Lua itself; not ours to touch
local RUN = 8 -- sorted by insertion before merging

local bounds = {}

local function bad(where, position, what)
  error("bad argument #" .. position .. " to '" .. where .. "' (" .. what .. ")", 3)
end

local function wrong_type(where, position, wanted, v)
  return bad(where, position, wanted .. " expected, got " .. (S.own_name(v) or type(v)))
end

local function is_table(t)
  return type(t) == "table" and not S.own_name(t)
end

-- An integer from what Lua takes for one, or nil.
local function integer(v)
  return math_type(v) == "integer" and v or tointeger(tonumber(v))
end

-- Whether `#t` is only as long as t is.
local function has_own_length(t)
  local mt = getmetatable(t)
  return not (mt and rawget(mt, "__len"))
end

-- The length that a loop in Lua may use: `#t` unless it is absurd or no integer.
local function usable_length(t)
  local length = #t
  return math_type(length) == "integer" and length <= MAX_ELEMENTS and length or nil
end

function bounds.rep(s, n, sep)
  local count = integer(n)
  local kind, between = type(s), type(sep)
  if kind ~= "string" and kind ~= "number" then
    wrong_type("rep", 1, "string", s)
  elseif not count then
    wrong_type("rep", 2, "integer", n)
  elseif sep ~= nil and between ~= "string" and between ~= "number" then
    wrong_type("rep", 3, "string", sep)
  end
  sep = sep == nil and "" or tostring(sep)
  if count > 0 and (#tostring(s) + #sep) * (count + 0.0) > MAX_TEXT then
    error("string.rep: a result of more than 64 MiB", 2)
  end
  if #tostring(s) + #sep == 0 then return "" end -- C would go through the motions `count` times
  return rep(s, count, sep)
end

function bounds.concat(t, sep, i, j)
  if not is_table(t) then
    wrong_type("concat", 1, "table", t)
  elseif sep ~= nil and type(sep) ~= "string" and type(sep) ~= "number" then
    wrong_type("concat", 2, "string", sep)
  end
  local first, last = 1, nil
  if i ~= nil then
    first = integer(i) or wrong_type("concat", 3, "integer", i)
  end
  if j == nil then
    last = usable_length(t) or bad("concat", 1, "a table with too many elements")
  else
    last = integer(j) or wrong_type("concat", 4, "integer", j)
  end
  if first <= last and (last - first >= MAX_ELEMENTS or last - first < 0) then
    error("table.concat: more than ten million elements", 2)
  end
  if getmetatable(t) then -- its elements may be what a metamethod says, which may wait
    local list = {}
    for k = first, last do
      list[k] = t[k]
    end
    t = list
  end
  local ok, text = pcall(concat, t, sep, first, last)
  if not ok then
    error(text, text == OUT_OF_MEMORY and 0 or 2)
  end
  return text
end

function bounds.insert(t, ...)
  local count = select("#", ...)
  if not is_table(t) then
    wrong_type("insert", 1, "table", t)
  elseif count ~= 1 and count ~= 2 then
    error("wrong number of arguments to 'insert'", 2)
  elseif count == 1 and has_own_length(t) then
    insert(t, (...))
    return
  end
  local length = usable_length(t) or bad("insert", 1, "a table with too many elements")
  local position, value = ...
  if count == 1 then
    position, value = length + 1, position
  else
    local at = integer(position) or wrong_type("insert", 2, "integer", position)
    if at < 1 or at > length + 1 then
      bad("insert", 2, "position out of bounds")
    elseif has_own_length(t) then
      insert(t, at, value)
      return
    end
    position = at
  end
  for i = length, position, -1 do
    t[i + 1] = t[i]
  end
  t[position] = value
end

function bounds.remove(t, ...)
  if not is_table(t) then
    wrong_type("remove", 1, "table", t)
  end
  local length = usable_length(t) or bad("remove", 1, "a table with too many elements")
  local at = length
  if select("#", ...) > 0 then
    at = integer((...)) or wrong_type("remove", 2, "integer", (...))
    if at ~= length and (at < 1 or at > length + 1) then
      bad("remove", 2, "position out of bounds")
    end
  end
  if has_own_length(t) then
    return remove(t, at)
  end
  local value = t[at]
  for i = at, length - 1 do
    t[i] = t[i + 1]
  end
  if at <= length then
    t[length] = nil
  end
  return value
end

function bounds.move(from, first, last, at, to)
  if not is_table(from) then
    wrong_type("move", 1, "table", from)
  elseif to ~= nil and not is_table(to) then
    wrong_type("move", 5, "table", to)
  end
  first = integer(first) or wrong_type("move", 2, "integer", first)
  last = integer(last) or wrong_type("move", 3, "integer", last)
  at = integer(at) or wrong_type("move", 4, "integer", at)
  if first <= last and (last - first >= MAX_ELEMENTS or last - first < 0) then
    error("table.move: more than ten million elements", 2)
  elseif first <= last and at + (last - first) < at then
    bad("move", 4, "destination wrap around")
  end
  return move(from, first, last, at, to or from)
end

-- sort --------------------------------------------------------------------------------------------

local function less_than(a, b)
  return a < b
end

-- list[low..high] in order, by insertion.
local function sort_run(list, low, high, before)
  for i = low + 1, high do
    local item, j = list[i], i - 1
    while j >= low and before(item, list[j]) do
      list[j + 1] = list[j]
      j = j - 1
    end
    list[j + 1] = item
  end
end

-- from[low..middle] and from[middle+1..high], each in order, as one run in `to`.
local function merge(from, to, low, middle, high, before)
  local a, b = low, middle + 1
  for at = low, high do
    if b > high or a <= middle and not before(from[b], from[a]) then
      to[at] = from[a]
      a = a + 1
    else
      to[at] = from[b]
      b = b + 1
    end
  end
end

local function merge_sort(list, length, before)
  for low = 1, length, RUN do
    sort_run(list, low, low + RUN - 1 < length and low + RUN - 1 or length, before)
  end
  local spare, width = {}, RUN
  while width < length do
    for low = 1, length, 2 * width do
      local middle, high = low + width - 1, low + 2 * width - 1
      if middle >= length then
        middle, high = length, length
      elseif high > length then
        high = length
      end
      merge(list, spare, low, middle, high, before)
    end
    list, spare, width = spare, list, 2 * width
  end
  return list
end

function bounds.sort(t, before)
  if not is_table(t) then
    wrong_type("sort", 1, "table", t)
  elseif before ~= nil and type(before) ~= "function" then
    wrong_type("sort", 2, "function", before)
  end
  local length = usable_length(t) or bad("sort", 1, "a table with too many elements")
  local list = {}
  for i = 1, length do
    list[i] = t[i]
  end
  if before then
    list = merge_sort(list, length, before)
  else
    local ok, sorted = pcall(merge_sort, list, length, less_than)
    if not ok then
      local text = type(sorted) == "string" and gsub(sorted, "^perdure:[^:]*:%d+: ", "")
      error(text or sorted, text and 2 or 0)
    end
    list = sorted
  end
  for i = 1, length do
    t[i] = list[i]
  end
end

return bounds
