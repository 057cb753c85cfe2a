-- What differs from run to run, made the same on replay: time, random bytes, versions.
--
-- In a workflow such a value is drawn once, goes out as a `value` command and so into the history, in the same
-- transaction as the step that saw it; on replay the step brings its values along (slot.values, with
-- `next` as position) and they are handed out again in their order.
--
-- S.now_of(slot), S.now() -> ns since 1970; in a workflow the recorded time of the step
-- S.random(n) -> n random bytes
-- S.version(slot, change, lowest, highest) -> version
-- S.refused(slot, what, name, size) -> nil | err         the error for a payload that is too large for the journal
-- S.encode_outgoing(what, name, …) -> bytes | nil, err   arguments on their way out
local S = ...
local LIMIT <const> = S.payload_limit

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

-- A refusal is recorded like a value: the limit may be another one when the run is replayed.
function S.refused(slot, what, name, size)
  local kind = "too large:" .. slot.seq + 1
  local item = slot.values and slot.values[slot.values.next]
  if slot.replaying then
    if not (item and item[1] == kind) then return nil end
  elseif size <= LIMIT then
    return nil
  end
  return S.new_error("Invalid", recorded(slot, kind, function()
    return what .. name .. ": " .. size .. " bytes are more than the payload_limit of the journal, " .. LIMIT
      .. ": keep it elsewhere and pass on where, or raise the limit"
  end))
end

function S.encode_outgoing(what, name, ...)
  local bytes, err = S.try_encode_values(...)
  local slot = S.current
  if not bytes or not slot.durable then return bytes, err end
  err = S.refused(slot, what, name, #bytes)
  if err then return nil, err end
  return bytes
end
