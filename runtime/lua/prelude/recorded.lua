-- What differs from run to run, made the same on replay: time, random bytes, versions.
--
-- In a workflow such a value is drawn once, goes out as a `value` command and so into the history, in the same
-- transaction as the step that saw it; on replay the step brings its values along (slot.values) and they
-- are handed out again in their order.
local S = ...
local unpack, math_type = string.unpack, math.type

-- The wall clock in ns; in a workflow the recorded time of the step.
function S.now_of(slot)
  return slot.durable and slot.now or S.wall()
end
function S.now()
  return S.now_of(S.current)
end

-- A value of `kind`: from the history when the step is replayed, else made by `produce`.
local function recorded(slot, kind, produce)
  local values = slot.values
  local value
  if values and values.next <= #values then
    local item = values[values.next]
    if item[1] ~= kind then
      -- The replay has left the history here. Nothing it does from now on counts; the host sees the
      -- different command and parks the run.
      value = produce()
    else
      values.next = values.next + 1
      value = S.decode(item[2])
    end
  else
    value = produce()
  end
  S.emit_value(slot.pid, kind, value)
  return value
end

-- n random bytes.
function S.random(n)
  local slot = S.current
  if not slot.durable then return S.entropy(n) end
  return recorded(slot, "random", function() return S.entropy(n) end)
end

-- xoshiro256** seeded from the run, for math.random in a workflow.
local function rotate(x, k) return (x << k) | (x >> (64 - k)) end
local function next_random(slot)
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

-- math.random with the arguments of Lua's own.
function S.durable_random(low, high)
  local bits = next_random(S.current)
  if low == nil then return (bits >> 11) * (0.5 / (1 << 52)) end
  if high == nil then low, high = 1, low end
  if math_type(low) ~= "integer" or math_type(high) ~= "integer" then
    return S.raise("Invalid", "math.random takes integers in a workflow")
  end
  if low == 0 and high == 0 then return bits end
  if low > high then return S.raise("Invalid", "math.random: the interval is empty") end
  local range = high - low + 1
  if range <= 0 then return low + (bits >> 1) % (high - low) end
  return low + (bits >> 1) % range
end

-- workflow.version: the highest version when the run passes here for the first time, the recorded one on
-- replay, the lowest when the history is from before the change.
function S.version(slot, change, lowest, highest)
  local versions = slot.versions
  if not versions then
    versions = {}
    slot.versions = versions
  end
  local version = versions[change]
  if version then return version end
  local kind = "version:" .. change
  local values = slot.values
  local item = values and values[values.next]
  if slot.replaying and not (item and item[1] == kind) then
    version = lowest
  else
    version = recorded(slot, kind, function() return highest end)
  end
  versions[change] = version
  return version
end
