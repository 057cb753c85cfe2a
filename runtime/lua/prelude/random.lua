-- math.random for workflows: xoshiro256**, as Lua's own, seeded from the run.
--
-- S.durable_random(…): as math.random. S.current.seed has 32 bytes.
local S = ...
local tointeger, ult, unpack = math.tointeger, math.ult, string.unpack
local ipairs = ipairs

local function rotate(x, k) return (x << k) | (x >> (64 - k)) end

local function next_bits(slot)
  local state = slot.random_state
  if not state then
    state = { unpack("<i8i8i8i8", slot.seed) }
    slot.random_state = state
  end
  local s1 = state[2]
  local result = rotate(s1 * 5, 7) * 9
  local t = s1 << 17
  state[3] = state[3] ~ state[1]
  state[4] = state[4] ~ s1
  state[2] = s1 ~ state[3]
  state[1] = state[1] ~ state[4]
  state[3] = state[3] ~ t
  state[4] = rotate(state[4], 45)
  return result
end

-- A number of 0 … most (unsigned): bits under the smallest mask that covers it, until they fit.
local function project(slot, most)
  if most & (most + 1) == 0 then return next_bits(slot) & most end
  local mask = most
  for _, shift in ipairs({ 1, 2, 4, 8, 16, 32 }) do mask = mask | (mask >> shift) end
  local bits = next_bits(slot) & mask
  while ult(most, bits) do bits = next_bits(slot) & mask end
  return bits
end

function S.durable_random(low, high)
  local slot = S.current
  if low == nil then return (next_bits(slot) >> 11) * (0.5 / (1 << 52)) end
  if high == nil then low, high = 1, low end
  local first, last = tointeger(low), tointeger(high)
  if not first or not last then
    return S.raise("Invalid", "math.random takes integers, got " .. S.show(low) .. " and " .. S.show(high))
  end
  if first == 1 and last == 0 then return next_bits(slot) end
  if first > last then return S.raise("Invalid", "math.random: the interval is empty") end
  return first + project(slot, last - first)
end
