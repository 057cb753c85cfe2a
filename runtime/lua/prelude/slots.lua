-- Slots: their birth, their requests to the outside, and their end.
--
-- Fields of a slot
--   pid        text, or nil for a function call that nobody asked the PID of (S.pid_of makes it)
--   entry      id of the entry it runs        proto      its compiled source (see sources.lua)
--   env        globals of its code            main       its first coroutine; others: the rest, or nil
--   tasks      coroutines alive               blocked    how many of them wait on own channels
--   fuel       instructions left              durable    true for a workflow run
--   pending    [seq] = what waits for an answer: a task, or a function (ok, value)
--   inbox, events, listeners                  see mailbox.lua; made on first use
--   context    inherited values, or nil       parent     PID of the spawner, or ""
--   watchers   [pid] = true, or nil           links      [pid] = true, or nil
--   on_end     function (ok, value) of a local caller, or nil
--   outcome    {pid, seq} that gets the result as an answer, or nil
--   children   [slot] = true: functions it called, which are cancelled with it
local S = ...
local pairs, type, tostring, next = pairs, type, tostring, next
local sort = table.sort
local yield = coroutine.yield
local BLOCK = S.BLOCK

S.slots = {} -- [pid] = slot
S.live = 0 -- slots of processes

function S.pid_of(slot)
  local pid = slot.pid
  if not pid then
    pid = S.new_pid()
    slot.pid = pid
    S.slots[pid] = slot
  end
  return pid
end

-- Make a slot that will run `entry` with the values a, b, … of list `arguments`. Options as listed above.
-- Returns nil, err when the entry is unknown here or its source does not load.
function S.new_slot(entry, slot, arguments, count)
  local proto, err = S.proto(entry)
  if not proto then return nil, err end
  slot.entry, slot.proto = entry, proto
  slot.tasks, slot.blocked, slot.fuel = 0, 0, S.fuel
  slot.seq = 0
  if slot.pid then S.slots[slot.pid] = slot end
  slot.main = S.start_task(slot, proto.start, arguments, count)
  return slot
end

-- A request: a command with a number of its own, whose answer wakes the running task with (ok, value).
function S.next_seq(slot)
  local seq = slot.seq + 1
  slot.seq = seq
  return seq
end

function S.expect(slot, seq, waiter)
  local pending = slot.pending
  if not pending then
    pending = {}
    slot.pending = pending
  end
  pending[seq] = waiter
end

-- Wait for the answer of request `seq`: returns value, nil or nil, err.
function S.await(slot, seq)
  S.expect(slot, seq, S.co)
  local ok, value = yield(BLOCK)
  if ok then return value, nil end
  return nil, value
end

function S.answer(slot, seq, ok, value)
  local pending = slot.pending
  local waiter = pending and pending[seq]
  if not waiter then return end
  pending[seq] = nil
  if type(waiter) == "thread" then
    S.wake(slot, waiter, ok, value)
  else
    waiter(ok, value)
  end
end

local function sorted_keys(set)
  local keys = {}
  for key in pairs(set) do keys[#keys + 1] = key end
  sort(keys)
  return keys
end

-- Tell those who watch and those who are linked. A watcher elsewhere, or any watcher of a named slot,
-- hears it through the host, which frees the names first.
local function notify(slot, ok, value)
  local watchers, links = slot.watchers, slot.links
  if not watchers and not links then return end
  local at = S.wall()
  local pid = slot.pid
  local result = ok and { value = value } or { error = value }
  local function tell(target, event)
    local receiver = S.slots[target]
    if receiver and not slot.named then
      event.result = S.copy(result)
      S.signal(receiver, event)
    else
      event.result = result
      S.emit_event(target, event)
    end
  end
  if watchers then
    for _, target in pairs(sorted_keys(watchers)) do
      tell(target, { kind = "pid.exit", from = pid, at = at })
    end
  end
  if links then
    for _, target in pairs(sorted_keys(links)) do
      tell(target, { kind = ok and "unlink" or "pid.link.down", from = pid, at = at })
    end
  end
end

-- A slot ends: with a value, or with an error object. Safe to call on a dead one.
function S.finish(slot, ok, value)
  if slot.dead then return end
  local was_busy = S.busy
  S.busy = true
  slot.dead = true
  if slot.pid then S.slots[slot.pid] = nil end
  if ok then
    local copied, err = S.try_copy(value)
    if err then ok, value = false, err else value = copied end
  end
  if slot.children then
    for child in pairs(slot.children) do
      S.finish(child, false, S.new_error("Canceled", "the caller of this function ended"))
    end
  end
  if slot.parent_slot then slot.parent_slot.children[slot] = nil end
  slot.pending, slot.inbox, slot.events, slot.listeners = nil, nil, nil, nil
  slot.main, slot.others, slot.env = nil, nil, nil
  if slot.on_end then
    slot.on_end(ok, value)
  else
    S.emit_ended(slot, ok, value)
  end
  if slot.is_process then S.live = S.live - 1 end
  notify(slot, ok, value)
  slot.watchers, slot.links = nil, nil
  S.busy = was_busy
end

-- A signal of another slot or of the runtime reaches this one.
function S.signal(slot, event)
  local kind = event.kind
  local from = event.from
  if kind == "unlink" then
    if slot.links then slot.links[from] = nil end
  elseif kind == "pid.link.down" then
    if not (slot.links and slot.links[from]) then return end
    slot.links[from] = nil
    if slot.trap_links then
      S.deliver_event(slot, event)
    else
      local err = event.result and event.result.error
      S.finish(slot, false, S.new_error("Internal", "linked process failed", nil, {
        pid = from,
        error = err and tostring(err) or nil,
      }))
    end
  else
    S.deliver_event(slot, event)
  end
end

-- All slots that have a PID, by PID.
function S.sorted_slots()
  local all = {}
  for i, pid in pairs(sorted_keys(S.slots)) do all[i] = S.slots[pid] end
  return all
end

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
