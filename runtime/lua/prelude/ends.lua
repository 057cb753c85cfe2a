-- The end of a slot, and who hears of it.
--
-- A dead slot no longer routes. Its caller, watchers and links are told; ends that follow from it (of functions
-- it called, of processes linked to it) are worked off one after the other, however long the chain is.
--
-- S.finish(slot, ok, value)     value is a result, or an error object; nothing happens to a dead slot
-- S.abandon(slot, why)          nobody wants the result of a called slot any more; why: the error that it ends with
-- S.signal(slot, event)         an exit or a broken link reaches the slot
-- S.deliver_event               see mailbox.lua
local S = ...
local next, pairs, sort, tostring, type = next, pairs, table.sort, tostring, type
local resolve, slots = S.resolve, S.slots

local function sorted_keys(set)
  local keys = {}
  for key in pairs(set) do keys[#keys + 1] = key end
  sort(keys)
  return keys
end

-- All slots that have a PID, in order of it.
function S.sorted_slots()
  local all = sorted_keys(slots)
  for i = 1, #all do all[i] = slots[all[i]] end
  return all
end

local function tell(slot, target, event, result)
  local receiver = slots[target]
  if receiver and not slot.named then
    event.result = S.copy(result)
    S.signal(receiver, event)
  else
    event.result = result
    S.emit_event(target, event)
  end
end

local function notify(slot, ok, value)
  local pid, at = slot.pid, S.now_of(slot)
  local result = ok and { value = value } or { error = value }
  if slot.watchers then
    for _, target in pairs(sorted_keys(slot.watchers)) do
      tell(slot, target, { kind = "pid.exit", from = pid, at = at }, result)
    end
  end
  if slot.links then
    -- A normal end is no event to those linked to a process, but it is to those linked to a workflow.
    local kind = not ok and "pid.link.down" or slot.durable and "pid.exit" or "unlink"
    for _, target in pairs(sorted_keys(slot.links)) do
      if kind ~= "pid.exit" or not (slot.watchers and slot.watchers[target]) then
        tell(slot, target, { kind = kind, from = pid, at = at }, result)
      end
    end
  end
end

-- What a result is to others: a copy.
local function result_of(slot, ok, value)
  if not ok or type(value) ~= "table" then
    local kind = type(value)
    if kind == "function" or kind == "thread" or kind == "userdata" then value = nil end
    local err
    if slot.durable and not ok then
      err = S.refused(slot, "the error", "", #S.encode(value))
    elseif slot.durable and kind == "string" then
      err = S.refused(slot, "the result", "", #value)
    end
    if err then return false, err end
    return ok, value
  end
  local copied, err = S.try_copy(value)
  if err then return false, S.error_in("the result of this code cannot be sent", err) end
  err = slot.durable and S.refused(slot, "the result", "", #S.encode(copied))
  if err then return false, err end
  return true, copied
end

local function conclude(slot, ok, value)
  ok, value = result_of(slot, ok, value)
  local caller, children = slot.caller, slot.children
  if children then
    local canceled = S.new_error("Canceled", "the caller of this function ended")
    for child in pairs(children) do S.abandon(child, canceled) end
  end
  if slot.subscriptions then S.close_subscriptions(slot) end
  if slot.unread then S.log_unread(slot) end
  if caller then
    local siblings = caller.children
    if siblings then siblings[slot] = nil end
    if slot.waiter and not caller.dead then resolve(caller, slot.waiter, ok, value) end
    if not slot.pid then
      -- Most functions: nobody ever saw it, so there is nobody to tell and little in it.
      slot.main, slot.env, slot.caller, slot.pending, slot.others = nil, nil, nil, nil, nil
      return
    end
  else
    local outcome, number, pid = slot.outcome, slot.number, slot.pid
    if slot.is_process then S.live = S.live - 1 end
    if pid then
      local arrivals = slot.arrivals
      local unread = arrivals and arrivals.serial > slot.began and S.unread_of(slot, slot.began) or nil
      if slot.durable and slot.events then unread = S.add_unread_events(slot, unread or {}, "pid.cancel") end
      S.emit_ended(pid, ok, value, S.entry_of(slot), unread)
    end
    if outcome then S.emit_answer(outcome[1], outcome[2], ok, value) end
    if number then
      S.calls[number] = nil
      S.emit_result(number, ok, value)
    end
  end
  if slot.watchers or slot.links then notify(slot, ok, value) end
  -- Somebody may keep the slot for a while; nobody needs what was in it.
  slot.pending, slot.inbox, slot.events, slot.listeners = nil, nil, nil, nil
  slot.main, slot.others, slot.inner, slot.env, slot.unread = nil, nil, nil, nil, nil
  slot.children, slot.caller, slot.watchers, slot.links = nil, nil, nil, nil
end

local concluding = false
local queue, queued = {}, 0 -- three entries each: slot, ok, value

function S.finish(slot, ok, value)
  if slot.dead then return end
  slot.dead = true
  if slot.pid then slots[slot.pid] = nil end
  if concluding then
    queue[queued + 1], queue[queued + 2], queue[queued + 3] = slot, ok, value
    queued = queued + 3
    return
  end
  local was_busy = S.busy
  S.busy, concluding = true, true
  conclude(slot, ok, value)
  local at = 1
  while at <= queued do
    slot, ok, value = queue[at], queue[at + 1], queue[at + 2]
    queue[at], queue[at + 1], queue[at + 2] = nil, nil, nil
    at = at + 3
    conclude(slot, ok, value)
  end
  queued, concluding = 0, false
  S.busy = was_busy
end

local GRACE <const> = 10000000000 -- ns that one which listens has from its CANCEL to its end

-- One that runs in the VM of its caller goes on by itself; it counts as a process then.
local function set_free(slot)
  if not slot.caller then return end
  if slot.caller.children then slot.caller.children[slot] = nil end
  slot.caller, slot.waiter, slot.is_process = nil, nil, true
  S.live = S.live + 1
end

function S.abandon(slot, why)
  if slot.dead then return end
  if not slot.listens then return S.finish(slot, false, why) end
  set_free(slot)
  S.deliver_event(slot, { kind = "pid.cancel", from = "", at = S.now_of(slot), reason = why:message() })
  local pid, seq = S.pid_of(slot), S.next_seq(slot)
  S.expect(slot, function() S.finish(slot, false, why) end, seq)
  S.emit_timer(pid, seq, GRACE)
end

local function link_failed(event)
  local result = event.result
  local err = type(result) == "table" and result.error
  return S.new_error("Internal", "linked process failed", nil, { pid = event.from, error = err and tostring(err) or nil })
end

function S.signal(slot, event)
  local kind, links = event.kind, slot.links
  if kind == "pid.link.down" then
    if not (links and links[event.from]) then return end
    links[event.from] = nil
    if not slot.trap_links then return S.finish(slot, false, link_failed(event)) end
  elseif kind == "unlink" then
    if links then links[event.from] = nil end
    return
  end
  S.deliver_event(slot, event)
end

-- Sets of PIDs in a field of a slot.

function S.add_to(slot, field, pid)
  local set = slot[field]
  if not set then
    set = {}
    slot[field] = set
  end
  set[pid] = true
end

function S.remove_from(slot, field, pid)
  local set = slot[field]
  if set then
    set[pid] = nil
    if next(set) == nil then slot[field] = nil end
  end
end
