-- Lua's pattern matcher in Lua, so that it counts against the fuel: a port of `match` in lstrlib.c
-- (Lua 5.4), function by function.
--
-- S.new_matcher(subject, pattern) -> m
-- S.match_at(m, i, p) -> position after the match, or nil; i and p are where subject and pattern start.
--     Resets the captures first.
-- S.captures(m, first, after) -> captures…; with `first` the whole match stands in for none.
-- S.capture(m, index, first, after) -> capture `index` (1 is the first)
-- Raises strings without a position ("malformed pattern …"), which callers put their position to.
local S = ...
local byte, char, find, sub = string.byte, string.char, string.find, string.sub
local error = error
local table_unpack = table.unpack

local MAX_CAPTURES, MAX_DEPTH = 32, 200 -- LUA_MAXCAPTURES, MAXCCALLS
local UNFINISHED, POSITION = -1, -2

local PERCENT, OPEN, CLOSE, DOLLAR, DOT = 0x25, 0x28, 0x29, 0x24, 0x2e
local STAR, PLUS, MINUS, QUESTION = 0x2a, 0x2b, 0x2d, 0x3f
local BRACKET, END_BRACKET, CARET, BALANCE, FRONTIER = 0x5b, 0x5d, 0x5e, 0x62, 0x66
local ZERO, NINE = 0x30, 0x39

function S.new_matcher(subject, pattern)
  return {
    s = subject,
    size = #subject,
    p = pattern,
    last = #pattern,
    level = 0,
    from = {}, -- where each capture starts
    length = {}, -- its length, or UNFINISHED or POSITION
    ends = {}, -- position in the pattern -> where the single item there ends
    sets = {}, -- position in the pattern -> set of bytes that the item there matches
  }
end

local function class_end(m, p)
  local ending = m.ends[p]
  if ending then
    return ending
  end
  local text, last = m.p, m.last
  local c = byte(text, p)
  ending = p + 1
  if c == PERCENT then
    if ending > last then
      error("malformed pattern (ends with '%')", 0)
    end
    ending = ending + 1
  elseif c == BRACKET then
    if byte(text, ending) == CARET then
      ending = ending + 1
    end
    repeat
      if ending > last then
        error("malformed pattern (missing ']')", 0)
      end
      c = byte(text, ending)
      ending = ending + 1
      if c == PERCENT and ending <= last then
        ending = ending + 1
      end
    until byte(text, ending) == END_BRACKET
    ending = ending + 1
  end
  m.ends[p] = ending
  return ending
end

-- The bytes that the item at p matches; the library itself says which.
local function set_at(m, p, ending)
  local set = m.sets[p]
  if set then
    return set
  end
  set = {}
  local c = byte(m.p, p)
  if c == PERCENT or c == BRACKET or c == DOT then
    local item = sub(m.p, p, ending - 1)
    for b = 0, 255 do
      set[b] = find(char(b), item) ~= nil
    end
  else
    set[c] = true
  end
  m.sets[p] = set
  return set
end

local match

local function start_capture(m, i, p, kind)
  local level = m.level + 1
  if level > MAX_CAPTURES then
    error("too many captures", 0)
  end
  m.from[level], m.length[level] = i, kind
  m.level = level
  local after = match(m, i, p)
  if not after then
    m.level = m.level - 1
  end
  return after
end

local function end_capture(m, i, p)
  local level = m.level
  while level > 0 and m.length[level] ~= UNFINISHED do
    level = level - 1
  end
  if level == 0 then
    error("invalid pattern capture", 0)
  end
  m.length[level] = i - m.from[level]
  local after = match(m, i, p)
  if not after then
    m.length[level] = UNFINISHED
  end
  return after
end

local function balance(m, i, p)
  if p >= m.last then
    error("malformed pattern (missing arguments to '%b')", 0)
  end
  local s, size = m.s, m.size
  local open, close = byte(m.p, p, p + 1)
  if byte(s, i) ~= open then
    return nil
  end
  local depth = 1
  for j = i + 1, size do
    local c = byte(s, j)
    if c == close then
      depth = depth - 1
      if depth == 0 then
        return j + 1
      end
    elseif c == open then
      depth = depth + 1
    end
  end
  return nil
end

local function same_again(m, i, digit)
  local index = digit - ZERO
  local length = m.length[index]
  if index == 0 or index > m.level or length == UNFINISHED then
    error("invalid capture index %" .. index, 0)
  end
  local from = m.from[index]
  if length == POSITION or m.size - i + 1 < length then
    return nil
  elseif sub(m.s, from, from + length - 1) == sub(m.s, i, i + length - 1) then
    return i + length
  end
  return nil
end

local function longest(m, i, set, p)
  local s, j = m.s, i
  while set[byte(s, j) or -1] do
    j = j + 1
  end
  while j >= i do
    local after = match(m, j, p)
    if after then
      return after
    end
    j = j - 1
  end
  return nil
end

local function shortest(m, i, set, p)
  local s = m.s
  while true do
    local after = match(m, i, p)
    if after then
      return after
    elseif not set[byte(s, i) or -1] then
      return nil
    end
    i = i + 1
  end
end

local function frontier(m, i, p)
  if byte(m.p, p) ~= BRACKET then
    error("missing '[' after '%f' in pattern", 0)
  end
  local ending = class_end(m, p)
  local set = set_at(m, p, ending)
  local before = i > 1 and byte(m.s, i - 1) or 0
  if not set[before] and set[byte(m.s, i) or 0] then
    return ending
  end
  return nil
end

local function step(m, i, p)
  local s, text, last = m.s, m.p, m.last
  while p <= last do
    local c = byte(text, p)
    local following = byte(text, p + 1)
    if c == OPEN then
      if following == CLOSE then
        return start_capture(m, i, p + 2, POSITION)
      end
      return start_capture(m, i, p + 1, UNFINISHED)
    elseif c == CLOSE then
      return end_capture(m, i, p + 1)
    elseif c == DOLLAR and p == last then
      return i > m.size and i or nil
    elseif c == PERCENT and following == BALANCE then
      i = balance(m, i, p + 2)
      if not i then
        return nil
      end
      p = p + 4
    elseif c == PERCENT and following == FRONTIER then
      p = frontier(m, i, p + 2)
      if not p then
        return nil
      end
    elseif c == PERCENT and following and following >= ZERO and following <= NINE then
      i = same_again(m, i, following)
      if not i then
        return nil
      end
      p = p + 2
    else
      local ending = class_end(m, p)
      local set, suffix = set_at(m, p, ending), byte(text, ending)
      local fits = set[byte(s, i) or -1]
      if not fits then
        if suffix ~= STAR and suffix ~= MINUS and suffix ~= QUESTION then
          return nil
        end
        p = ending + 1
      elseif suffix == STAR then
        return longest(m, i, set, ending + 1)
      elseif suffix == MINUS then
        return shortest(m, i, set, ending + 1)
      elseif suffix == QUESTION then
        local after = match(m, i + 1, ending + 1)
        if after then
          return after
        end
        p = ending + 1
      elseif suffix == PLUS then
        return longest(m, i + 1, set, ending + 1)
      else
        i, p = i + 1, ending
      end
    end
  end
  return i
end

function match(m, i, p)
  local depth = m.depth - 1
  if depth < 0 then
    error("pattern too complex", 0)
  end
  m.depth = depth
  local after = step(m, i, p)
  m.depth = depth + 1
  return after
end

function S.match_at(m, i, p)
  m.level, m.depth = 0, MAX_DEPTH
  return match(m, i, p)
end

local function capture(m, index, first, after)
  if index > m.level then
    if index ~= 1 then
      error("invalid capture index %" .. index, 0)
    end
    return sub(m.s, first, after - 1)
  end
  local from, length = m.from[index], m.length[index]
  if length == UNFINISHED then
    error("unfinished capture", 0)
  elseif length == POSITION then
    return from
  end
  return sub(m.s, from, from + length - 1)
end
S.capture = capture

function S.captures(m, first, after)
  local level = m.level
  if level == 0 then
    if first then
      return sub(m.s, first, after - 1)
    end
    return
  end
  local list = {}
  for index = 1, level do
    list[index] = capture(m, index, first, after)
  end
  return table_unpack(list, 1, level)
end
