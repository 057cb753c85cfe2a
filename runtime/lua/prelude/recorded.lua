-- What differs from run to run, made the same on replay: time, random bytes, versions.
--
-- In a workflow such a value is drawn once, goes out as a `value` command and so into the history, in the same
-- transaction as the step that saw it; on replay the step brings its values along (slot.values, with
-- `next` as position) and they are handed out again in their order.
--
-- S.now_of(slot), S.now() -> ns since 1970; in a workflow the recorded time of the step
-- S.random(n) -> n random bytes
-- S.version(slot, change, lowest, highest) -> version
local S = ...

function S.now_of(slot)
  return slot.durable and slot.now or S.wall()
end

function S.now()
  return S.now_of(S.current)
end

-- A value of `kind`: from the history when the step is replayed, else made by `produce`.
local function recorded(slot, kind, produce)
  local values = slot.values
  local item = values and values[values.next]
  local value
  -- An item of another kind: the replay has left the history. Nothing it does from here on counts; the
  -- host sees the different command and parks the run.
  if item and item[1] == kind then
    values.next = values.next + 1
    value = S.decode(item[2])
  else
    value = produce()
  end
  S.emit_value(slot.pid, kind, value)
  return value
end

function S.random(n)
  local slot = S.current
  if not slot.durable then return S.entropy(n) end
  return recorded(slot, "random", function() return S.entropy(n) end)
end

-- The highest version when the run passes here for the first time, the recorded one on replay, the lowest
-- when the history is from before the change.
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
