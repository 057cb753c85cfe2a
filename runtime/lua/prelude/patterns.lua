-- string.find, match, gmatch and gsub that cannot hang: a call that is cheap even in the worst case is
-- made to the C function, any other one to a matcher in Lua that counts against the fuel.
--
-- Needs: matcher, pattern_cost. S.pattern_budget, steps, if set (tests: 0), replaces 1e7.
-- Returns {find, match, gmatch, gsub}, which behave and fail as Lua's own do, and in two things better:
-- the function that gsub calls may yield, and so may the metamethods of its table. A result above 64 MiB
-- is refused.
local S = ...
local byte, find, gmatch, gsub, match, sub = string.byte, string.find, string.gmatch, string.gsub, string.match, string.sub
local new_matcher, match_at, captures, capture = S.new_matcher, S.match_at, S.captures, S.capture
local pattern_cost, pattern_captures = S.pattern_cost, S.pattern_captures
local concat, pack, table_unpack = table.concat, table.pack, table.unpack
local math_type, tointeger = math.type, math.tointeger
local max = math.max
local error, pcall, setmetatable = error, pcall, setmetatable
local tonumber, tostring, type = tonumber, tostring, type

local BUDGET = S.pattern_budget or 10000000
local MAX_RESULT = 64 * 1024 * 1024
local PLAIN_BUDGET = 10000000 -- bytes compared by one plain search

-- Arguments as luaL_check… takes them. Errors have the position of the user's call: a tail call leaves
-- no level, so `bad` is always two below it.

local function bad(where, position, what)
  error("bad argument #" .. position .. " to '" .. where .. "' (" .. what .. ")", 3)
end

local function text(v, where, position)
  local kind = type(v)
  if kind == "string" then
    return v
  elseif kind == "number" then
    return tostring(v)
  end
  return bad(where, position, "string expected, got " .. (S.own_name(v) or kind))
end

local function integer(v, default, where, position)
  if v == nil then
    return default
  elseif math_type(v) == "integer" then
    return v
  end
  local number = tonumber(v)
  local whole = number and tointeger(number)
  if whole then
    return whole
  elseif number and type(v) == "number" then
    return bad(where, position, "number has no integer representation")
  end
  return bad(where, position, "number expected, got " .. (S.own_name(v) or type(v)))
end

-- posrelatI of lstrlib.c
local function start_of(init, size)
  if init > 0 then
    return init
  elseif init == 0 or init < -size then
    return 1
  end
  return size + init + 1
end

-- The results of a pcall of ours; the error gets the position of the user's call, `level` frames up.
local function finish(level, ok, ...)
  if ok then
    return ...
  end
  local message = ...
  if type(message) == "string" and message ~= "not enough memory" then
    error(message, level)
  end
  error(message, 0) -- not ours to touch: the runtime's kill
end

-- find and match ----------------------------------------------------------------------------------

-- The first match from `init` on: position, position after it. Its captures stay in m.
local function search(m, init, anchored)
  local p = anchored and 2 or 1
  for i = init, anchored and init or m.size + 1 do
    local after = match_at(m, i, p)
    if after then
      return i, after
    end
  end
  return nil
end

local function is_anchored(p)
  return byte(p, 1) == 0x5e
end

local function slow_find(s, p, init)
  local m = new_matcher(s, p)
  local first, after = search(m, init, is_anchored(p))
  if first then
    return first, after - 1, captures(m)
  end
  return nil
end

local function slow_match(s, p, init)
  local m = new_matcher(s, p)
  local first, after = search(m, init, is_anchored(p))
  if first then
    return captures(m, first, after)
  end
  return nil
end

-- A plain search in windows, each of which C can search in no time.
local function plain_find(s, p, init)
  local size, wanted = #s, #p
  local window = PLAIN_BUDGET // (wanted + 1) + 1
  if size - init <= window then
    return find(s, p, init, true)
  end
  for from = init, size - wanted + 1, window do
    local first, last = find(sub(s, from, from + window + wanted - 2), p, 1, true)
    if first then
      return first + from - 1, last + from - 1
    end
  end
  return nil
end

local function is_plain(p)
  return not find(p, "[%^%$%*%+%?%.%(%[%%%-]")
end

local strings = {}

function strings.find(s, p, init, plain)
  s, p = text(s, "find", 1), text(p, "find", 2)
  init = start_of(integer(init, 1, "find", 3), #s)
  if init > #s + 1 then
    return nil
  elseif plain then
    return plain_find(s, p, init)
  elseif pattern_cost(p, #s - init + 1) <= BUDGET then
    return find(s, p, init)
  elseif is_plain(p) then
    return plain_find(s, p, init)
  end
  return finish(2, pcall(slow_find, s, p, init))
end

function strings.match(s, p, init)
  s, p = text(s, "match", 1), text(p, "match", 2)
  init = start_of(integer(init, 1, "match", 3), #s)
  if init > #s + 1 then
    return nil
  elseif pattern_cost(p, #s - init + 1) <= BUDGET then
    return match(s, p, init)
  end
  return finish(2, pcall(slow_match, s, p, init))
end

-- gmatch ------------------------------------------------------------------------------------------

local function slow_gmatch(s, p, init)
  local m = new_matcher(s, p)
  local from, last = init, nil
  local function step()
    for i = from, m.size + 1 do
      local after = match_at(m, i, 1)
      if after and after ~= last then
        from, last = after, after
        return captures(m, i, after)
      end
    end
    from = m.size + 2
    return nil
  end
  return function()
    return finish(2, pcall(step))
  end
end

function strings.gmatch(s, p, init)
  s, p = text(s, "gmatch", 1), text(p, "gmatch", 2)
  init = start_of(integer(init, 1, "gmatch", 3), #s)
  -- No anchor here: gmatch takes `^` as a plain character.
  if pattern_cost(is_anchored(p) and "%" .. p or p, #s - init + 1) <= BUDGET then
    return gmatch(s, p, init)
  end
  return slow_gmatch(s, p, init)
end

-- gsub --------------------------------------------------------------------------------------------

-- Both matchers as gsub sees them: :next(i) -> first, after of the first match at i or later;
-- :capture(index, first, after) and :captures(first, after) of that match.
local fast = {}
fast.__index = fast

function fast:next(i)
  local found = pack(find(self.s, self.p, i))
  self.found = found
  if found[1] then
    return found[1], found[2] + 1
  end
  return nil
end

function fast:capture(index, first, after)
  local found = self.found
  if index + 2 <= found.n then
    return found[index + 2]
  elseif index == 1 then
    return sub(self.s, first, after - 1)
  end
  return error("invalid capture index %" .. index, 0)
end

function fast:captures(first, after)
  local found = self.found
  if found.n == 2 then
    return sub(self.s, first, after - 1)
  end
  return table_unpack(found, 3, found.n)
end

local slow = { capture = capture, captures = captures }
slow.__index = slow

function slow:next(i)
  return search(self, i, self.anchored)
end

local function matcher(s, p)
  if pattern_cost(p, #s) <= BUDGET then
    return setmetatable({ s = s, p = p }, fast)
  end
  local m = setmetatable(new_matcher(s, p), slow)
  m.anchored = is_anchored(p)
  return m
end

-- add_s of lstrlib.c: the text with its %0 … %9 filled in.
local function expand(m, repl, first, after)
  local parts, from = {}, 1
  while true do
    local at = find(repl, "%", from, true)
    if not at then
      parts[#parts + 1] = sub(repl, from)
      return concat(parts)
    end
    parts[#parts + 1] = sub(repl, from, at - 1)
    local c = sub(repl, at + 1, at + 1)
    if c == "%" then
      parts[#parts + 1] = "%"
    elseif c == "0" then
      parts[#parts + 1] = sub(m.s, first, after - 1)
    elseif match(c, "^%d$") then
      parts[#parts + 1] = m:capture(byte(c) - 0x30, first, after)
    else
      error("invalid use of '%' in replacement string", 0)
    end
    from = at + 2
  end
end

-- What a function or table gave for a match, as text; nil keeps the match.
local function replacement(value)
  if not value then
    return nil
  elseif type(value) == "string" then
    return value
  elseif type(value) == "number" then
    return tostring(value)
  end
  return error("invalid replacement value (a " .. (S.own_name(value) or type(value)) .. ")", 3)
end

local function substitute(s, p, repl, limit)
  local m, anchored, kind = matcher(s, p), is_anchored(p), type(repl)
  local parts, count, total = {}, 0, 0
  local from, last = 1, nil -- where the rest starts; where the last match ended
  while count < limit do
    local first, after = finish(3, pcall(m.next, m, from))
    if first and after == last then -- empty, and right behind the last match
      first, after = finish(3, pcall(m.next, m, from + 1))
    end
    if not first then
      break
    end
    local value
    if kind == "string" then
      value = finish(3, pcall(expand, m, repl, first, after))
    elseif kind == "table" then
      value = replacement(repl[finish(3, pcall(m.capture, m, 1, first, after))])
    else
      value = replacement((repl(finish(3, pcall(m.captures, m, first, after)))))
    end
    count = count + 1
    parts[2 * count - 1] = sub(s, from, first - 1)
    parts[2 * count] = value or sub(s, first, after - 1)
    total = total + #parts[2 * count - 1] + #parts[2 * count]
    if total > MAX_RESULT then
      error("the result of gsub would be larger than 64 MiB", 3)
    end
    from, last = after, after
    if anchored then
      break
    end
  end
  parts[2 * count + 1] = sub(s, from)
  return concat(parts), count
end

-- True when gsub in C can neither fail with this replacement nor make its result too large.
local function is_safe(repl, p, size)
  if 2 * (size + 1) * #repl > MAX_RESULT then
    return false
  elseif find(repl, "%", 1, true) then
    local most = max(pattern_captures(p), 1)
    for c in gmatch(repl, "%%(.?)") do
      if c ~= "%" and not (tonumber(c) and tonumber(c) <= most) then
        return false
      end
    end
  end
  return true
end

function strings.gsub(s, p, repl, limit)
  s, p = text(s, "gsub", 1), text(p, "gsub", 2)
  local kind = type(repl)
  if kind == "number" then
    repl, kind = tostring(repl), "string"
  elseif S.own_name(repl) or kind ~= "string" and kind ~= "table" and kind ~= "function" then
    bad("gsub", 3, "string/function/table expected, got " .. (S.own_name(repl) or kind))
  end
  limit = integer(limit, #s + 1, "gsub", 4)
  if kind == "string" and pattern_cost(p, #s) <= BUDGET and is_safe(repl, p, #s) then
    return gsub(s, p, repl, limit)
  end
  return substitute(s, p, repl, limit)
end

return strings
