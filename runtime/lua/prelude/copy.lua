-- Copies of payloads, for sends within one VM.
--
-- Needs: objects, errors, payload_faults; S.charge at run time, if there. Nothing here yields or runs code of users.
-- S.copy(v) -> v   a table of its own with what would arrive if v were encoded and decoded (see codec).
--     Errors are shared, since they cannot change. Raises what encoding v would raise.
local S = ...
local own = S.own
local getmetatable = debug.getmetatable
local next, type = next, type

local MANY <const> = 20 -- values from which on the work is charged
local VALUE_COST <const> = 20 -- instructions
local MAX_DEPTH, MAX_VALUES = S.max_depth, S.max_values
local SCALAR = { string = true, number = true, boolean = true }

local root -- the value being copied, for its refusal

local function fail()
  local v = root
  root = nil
  S.refuse_payload(v)
end

local copied -- values copied so far

local function copy(v, depth)
  local kind = type(v)
  if kind ~= "table" then
    if SCALAR[kind] then
      return v
    end
    return nil
  end
  local mt = getmetatable(v)
  local object = mt and own[mt]
  if object == "error" then
    return v
  elseif object then
    return copy(mt.__data and mt.__data(v), depth)
  elseif depth == MAX_DEPTH then
    fail()
  elseif copied > MAX_VALUES then
    S.refuse_size()
  end
  local result = {}
  for k, item in next, v do
    local of = type(item)
    if of == "table" then
      item = copy(item, depth + 1)
    elseif not SCALAR[of] then
      item = nil
    end
    if not SCALAR[type(k)] then
      fail()
    end
    copied = copied + 1
    result[k] = item
  end
  return result
end

function S.copy(v)
  if SCALAR[type(v)] then
    return v
  end
  root, copied = v, 0
  v = copy(v, 0)
  root = nil
  if copied > MANY and S.charge then S.charge(VALUE_COST * copied) end
  return v
end
