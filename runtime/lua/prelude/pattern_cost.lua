-- How long the C matcher may take for a pattern: nothing interrupts it, so the answer decides whether
-- it may be used.
--
-- S.pattern_cost(pattern, n) -> steps in the worst case for a subject of n bytes, over all its starts;
--     math.huge for a pattern that the C matcher could refuse, so that our own port says so.
-- S.pattern_captures(pattern) -> number of captures (0 for such a pattern)
--
-- An item with `*`, `+` or `-`, a %b and a back reference multiply the steps by n, since what follows is
-- tried anew for each length; a `?` doubles them. Not so the last item: when nothing follows that could
-- fail, its first try is final. Without `^` every byte is a start. Long classes and texts weigh more.
local S = ...
local byte, find, sub = string.byte, string.find, string.sub
local max = math.max
local huge = math.huge

local PERCENT, OPEN, CLOSE, BRACKET, CARET = 0x25, 0x28, 0x29, 0x5b, 0x5e
local STAR, PLUS, MINUS, QUESTION = 0x2a, 0x2b, 0x2d, 0x3f
local BALANCE, FRONTIER, ZERO, NINE = 0x62, 0x66, 0x30, 0x39
local MAX_CAPTURES = 32
local MAX_ITEMS = 150 -- below the nesting of 200 at which the C matcher gives up
local CACHED = 500

-- Where the class that starts at p ends, or nil.
local function after_class(pattern, p)
  local i = p + 1
  if byte(pattern, i) == CARET then
    i = i + 1
  end
  repeat
    local c = byte(pattern, i)
    if not c then
      return nil
    end
    i = i + (c == PERCENT and 2 or 1)
  until sub(pattern, i, i) == "]"
  return i + 1
end

-- unbounded: items that multiply by n; doublings; captures; anchored; weight. Nil when malformed.
local function analyse(pattern)
  local last, p = #pattern, 1
  local unbounded, doublings, items = 0, 0, 0
  local captures, open = 0, {}
  local final = false -- whether the last item was unbounded and nothing can fail after it
  local anchored = byte(pattern, 1) == CARET
  if anchored then
    p = 2
  end
  while p <= last do
    local c, following = byte(pattern, p, p + 1)
    local after
    if c == OPEN then
      captures = captures + 1
      open[#open + 1] = captures
      p = p + 1
      items = items + 1
    elseif c == CLOSE then
      if #open == 0 then
        return nil
      end
      open[#open] = nil
      p = p + 1
      items = items + 1
    elseif c == PERCENT and following == BALANCE then
      unbounded, final = unbounded + 1, false
      p = p + 4
      if p > last + 1 then
        return nil
      end
    elseif c == PERCENT and following == FRONTIER then
      final = false
      p = p + 2
      p = byte(pattern, p) == BRACKET and after_class(pattern, p)
      if not p then
        return nil
      end
    elseif c == PERCENT and following and following >= ZERO and following <= NINE then
      unbounded, final = unbounded + 1, false
      local index = following - ZERO
      if index == 0 or index > captures then
        return nil
      end
      for i = 1, #open do
        if open[i] == index then
          return nil
        end
      end
      p = p + 2
    else
      if c == PERCENT then
        after = following and p + 2
      elseif c == BRACKET then
        after = after_class(pattern, p)
      else
        after = p + 1
      end
      if not after then
        return nil
      end
      local suffix = byte(pattern, after)
      final = suffix == STAR or suffix == PLUS or suffix == MINUS
      if final then
        unbounded = unbounded + 1
      elseif suffix == QUESTION then
        doublings = doublings + 1
      end
      if final or suffix == QUESTION then
        after = after + 1
        items = items + 1
      end
      p = after
    end
  end
  if #open > 0 or captures > MAX_CAPTURES or items > MAX_ITEMS then
    return nil
  end
  if final then
    unbounded = unbounded - 1
  end
  return {
    power = unbounded + (anchored and 0 or 1),
    factor = 2.0 ^ doublings * (1 + last // 16),
    captures = captures,
  }
end

local known, count = {}, 0

local function facts(pattern)
  local entry = known[pattern]
  if entry == nil then
    entry = analyse(pattern) or false
    if count >= CACHED then
      known, count = {}, 0
    end
    if #pattern <= 200 then
      known[pattern], count = entry, count + 1
    end
  end
  return entry
end

function S.pattern_cost(pattern, n)
  local entry = facts(pattern)
  if not entry then
    return huge
  end
  local size = max(n, 1)
  return entry.factor * (entry.power == 1 and size or entry.power == 0 and 1 or size ^ entry.power)
end

function S.pattern_captures(pattern)
  local entry = facts(pattern)
  return entry and entry.captures or 0
end
