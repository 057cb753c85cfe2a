-- process.upgrade: a process starts again, with the code of now, and stays who it is.
--
-- The new slot has the PID, names, watchers, links, options and context of the old one, and what nobody has
-- received of its messages and events. What the old code had under way ends with it: its coroutines, calls
-- and timers. A workflow goes on as a new run of its workflow id (continue-as-new).
local S = ...
local next, type, find, huge = next, type, string.find, math.huge
local isyieldable, error = coroutine.isyieldable, error
local process = S.process

local KEPT = {
  "is_process", "named", "outcome", "terminal", "watchers", "links", "trap_links", "upgradable", "seq", "up",
}

-- What waits in a channel, in one of the new slot.
local function moved(channel, slot)
  local new = S.new_channel(slot, huge, true)
  local waiting, count = S.drain(channel)
  for i = 1, count do S.feed(new, waiting[i]) end
  return new
end

-- Messages of a topic go back to the inbox; of those that a listener got as plain values, the sender is lost.
local function give_back(slot, topic, listener)
  local waiting, count = S.drain(listener.channel)
  for i = 1, count do
    local value = waiting[i]
    if listener.raw then
      S.deliver(slot, topic, "", 1, value, type(value) == "table" and not S.own_name(value))
    else
      S.deliver(slot, S.message_parts(value))
    end
  end
end

local function reborn(old, proto)
  local pid = S.pid_of(old)
  local slot = S.new_slot(proto, pid, S.context_of(old), old.parent)
  for i = 1, #KEPT do slot[KEPT[i]] = old[KEPT[i]] end
  if old.inbox then slot.inbox = moved(old.inbox, slot) end
  if old.events then slot.events = moved(old.events, slot) end
  for topic, listener in next, old.listeners or {} do give_back(slot, topic, listener) end
  return slot
end

-- The code that runs is over: nothing of the slot runs any more.
local function leave(slot)
  slot.dead = true
  local canceled = S.new_error("Canceled", "the caller of this function was upgraded")
  if slot.subscriptions then S.close_subscriptions(slot) end
  if slot.unread then S.log_unread(slot) end
  for child in next, slot.children or {} do S.abandon(child, canceled) end
  slot.pending, slot.inbox, slot.events, slot.listeners, slot.children = nil, nil, nil, nil, nil
  slot.killed = "upgraded"
  if isyieldable() then S.block(function() end) end
  error(nil)
end

-- Workflows: the run ends, and its host starts another with what it had not read. ---------------------------

local function upgrade_run(slot, id, ...)
  local kind = S.kind_of(id)
  if kind ~= "workflow.lua" then
    local is = kind and " is a " .. kind or " is no workflow that this host knows"
    return nil, S.new_error(kind and "Invalid" or "NotFound", "process.upgrade: " .. id .. is .. ": name a workflow.lua")
  end
  local args, err = S.encode_outgoing("the arguments of ", id, ...)
  if not args then return nil, err end
  S.emit_upgrade(slot.pid, id, args, S.add_unread_events(slot, S.unread_of(slot, 0)))
  S.slots[slot.pid] = nil
  leave(slot)
end

function process.upgrade(id, ...)
  local slot = S.current
  if id == nil then id = slot.durable and S.info_of(slot).workflow_type or S.entry_of(slot) end
  if not S.is_text(id) or not find(id, "^[^:]+:[^:]+$") then
    return nil, S.bad_argument("process.upgrade", "entry id", "namespace:name, or nil for its own", id)
  end
  if slot.durable then return upgrade_run(slot, id, ...) end
  if not slot.is_process then
    return nil, S.new_error("Invalid", "process.upgrade: only a process or workflow can call this; " .. S.entry_of(slot) .. " is none")
  end
  local kind = S.kind_of(id)
  if kind and kind ~= "process.lua" then
    return nil, S.new_error("Invalid", "process.upgrade: " .. id .. " is a " .. kind .. ": name a process.lua")
  end
  local proto, err = S.proto(id)
  if not proto then return nil, err end
  local args
  args, err = S.try_encode_values(...)
  if not args then return nil, err end
  S.busy = true
  local new = reborn(slot, proto)
  S.emit_upgrade(new.pid, id, args)
  S.start_main(new, S.decode_list(args))
  S.tell_up(new)
  S.busy = false
  leave(slot)
end
