-- What differs from run to run, made the same on replay: time, random bytes, versions.
--
-- In a workflow such a value is drawn once, goes out as a `value` command and so into the history, in the same
-- transaction as the step that saw it; on replay the step brings its values along (slot.values, with
-- `next` as position) and they are handed out again in their order.
--
-- Where the history is not ours to write (slot.derived) such a value is derived instead: from the run's seed, or,
-- for a version, from the markers that its server keeps: S.patched(name) is true where the run passed a place first
-- with code that had this marker.
--
-- S.now_of(slot), S.now() -> ns since 1970; in a workflow the recorded time of the step
-- S.random(n) -> n random bytes
-- S.version(slot, change, lowest, highest) -> version
-- S.refused(slot, what, name, size) -> nil | err         the error for a payload that is too large for the journal
-- S.encode_outgoing(what, name, …) -> bytes | nil, err   arguments on their way out
local S = ...
local LIMIT <const> = S.payload_limit
local max, pack, sub = math.max, string.pack, string.sub
local concat = table.concat
-- How far below the lowest version that the code still has a run's own may be found.
local BELOW <const> = 100

function S.now_of(slot)
  return slot.durable and slot.now or S.wall()
end

function S.now()
  return S.now_of(S.current)
end

-- A value of `kind`: from the history when the step is replayed, else made by `produce`.
local function recorded(slot, kind, produce)
  if slot.derived then return produce() end
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

-- The seed's HMACs of 1, 2, …, as HKDF expands a key (RFC 5869); what is left of a block is thrown away.
local function derived(slot, n)
  local blocks, bytes = {}, 0
  while bytes < n do
    slot.drawn = (slot.drawn or 0) + 1
    blocks[#blocks + 1] = S.keyed_digest("sha256", slot.seed, pack(">s4I8", "random", slot.drawn))
    bytes = bytes + 32
  end
  return sub(concat(blocks), 1, n)
end

function S.random(n)
  local slot = S.current
  if not slot.durable then return S.entropy(n) end
  if slot.derived then return derived(slot, n) end
  return recorded(slot, "random", function() return S.entropy(n) end)
end

local function marked(change, lowest, highest)
  for version = highest, max(lowest - BELOW, 0), -1 do
    if S.patched(change .. "@" .. version) then return version end
  end
  return lowest
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
  if slot.derived then
    version = marked(change, lowest, highest)
    versions[change] = version
    return version
  end
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
  if size <= LIMIT and not slot.replaying then return nil end
  local item = slot.values and slot.values[slot.values.next]
  if slot.replaying and not item then return nil end
  local kind = "too large:" .. slot.seq + 1
  if slot.replaying and item[1] ~= kind then return nil end
  return S.new_error("Invalid", recorded(slot, kind, function()
    return what .. name .. ": " .. size .. " bytes are more than " .. S.over_limit
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
