-- The order of pairs and next in workflows, the same in every run: numbers, then strings, then booleans, each
-- sorted; then our own objects, by creation.
--
-- S.number_object(slot, object)     gives an object of ours its place
-- S.durable_pairs, S.durable_next   as pairs and next
-- Two or more keys of any other kind have no such order: an error says so.
local S = ...
local rawtype, rawget, rawlen, raw_next = type, rawget, rawlen, next
local error, setmetatable, sort = error, setmetatable, table.sort
local math_type = math.type

local WEAK = { __mode = "k" }

function S.number_object(slot, object)
  local numbers = slot.object_numbers
  if not numbers then
    numbers = setmetatable({}, WEAK)
    slot.object_numbers, slot.objects_made = numbers, 0
  end
  slot.objects_made = slot.objects_made + 1
  numbers[object] = slot.objects_made
end

local RANK = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local rank_a, rank_b = RANK[rawtype(a)] or 4, RANK[rawtype(b)] or 4
  if rank_a ~= rank_b then return rank_a < rank_b end
  if rank_a <= 2 then return a < b end
  if rank_a == 3 then return b and not a end
  local numbers = S.current.object_numbers
  return numbers[a] < numbers[b]
end

-- True when the keys are 1 … length and nothing else.
local function is_list(t, length)
  local count = 0
  for key in raw_next, t do
    if math_type(key) ~= "integer" or key < 1 or key > length then return false end
    count = count + 1
  end
  return count == length
end

-- The keys of t in order: a list, or nil and the length when they are 1 … length. `where` and `level` say
-- what user code called, and how many frames up it is.
local function ordered_keys(t, where, level)
  local length = rawlen(t)
  if is_list(t, length) then return nil, length end
  local numbers = S.current.object_numbers
  local keys, count, foreign, kind = {}, 0, nil, nil
  for key in raw_next, t do
    local key_kind = rawtype(key)
    if RANK[key_kind] or numbers and numbers[key] then
      count = count + 1
      keys[count] = key
      kind = (kind == nil or kind == key_kind) and key_kind or false
    elseif foreign == nil then
      foreign = key
    else
      error(where .. ": this table has two or more keys that are tables or functions; a workflow has no order for them that a replay would give again: use numbers, strings or booleans as keys", level)
    end
  end
  if kind == "number" or kind == "string" then sort(keys) else sort(keys, before) end
  keys[count + 1] = foreign
  S.charge(8 * count) -- sorting is done in C
  return keys, count
end

local function check(where, t)
  if rawtype(t) ~= "table" or S.own_name(t) then
    error("bad argument #1 to '" .. where .. "' (table expected, got " .. (S.own_name(t) or rawtype(t)) .. ")", 3)
  end
end

-- Keys that the loop removes are passed over, as with Lua's own.
local function iterator(t, keys, length)
  local at = 0
  return function()
    while true do
      at = at + 1
      local key = at
      if keys then
        key = keys[at]
        if key == nil then return nil end
      elseif at > length then
        return nil
      end
      local value = rawget(t, key)
      if value ~= nil then return key, value end
    end
  end
end

function S.durable_pairs(t)
  check("pairs", t)
  return iterator(t, ordered_keys(t, "pairs", 3)), t, nil
end

-- next has no state of its own: the keys of a table that is being walked are kept, with their positions.
local function walk_of(slot, t, fresh)
  local walks = slot.walks
  if not walks then
    walks = setmetatable({}, WEAK)
    slot.walks = walks
  end
  local walk = walks[t]
  if fresh or not walk then
    local keys, length = ordered_keys(t, "next", 4)
    walk = { keys = keys, length = length, position = {} }
    if keys then
      for i = 1, #keys do walk.position[keys[i]] = i end
    end
    walks[t] = walk
  end
  return walk
end

function S.durable_next(t, key)
  check("next", t)
  local slot = S.current
  local walk = walk_of(slot, t, key == nil)
  local keys, at = walk.keys, 0
  if key ~= nil then
    if keys then
      at = walk.position[key]
    else
      at = math_type(key) == "integer" and key >= 1 and key <= walk.length and key or nil
    end
    if not at then error("invalid key to 'next'", 2) end
  end
  while true do
    at = at + 1
    local following = at
    if keys then following = keys[at] end
    if following == nil or not keys and at > walk.length then
      slot.walks[t] = nil
      return nil
    end
    local value = rawget(t, following)
    if value ~= nil then return following, value end
  end
end
