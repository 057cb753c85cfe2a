-- Slots: their birth, and their requests to the outside.
--
-- Fields of a slot
--   proto      its compiled entry (see sources.lua)      env       globals of its code
--   pid        text; made by S.pid_of for a function call whose PID nobody has asked for
--   main       its first task                            others    [task] = number of the rest, or nil
--   tasks      how many there are                        blocked   how many wait for own tasks
--   inner      [coroutine] = true while it waits inside a task, or nil
--   fuel       instructions left in this turn            queue     where its ready tasks go
--   killed     why it is being killed, or nil            dead      true from its end on
--   seq        number of its last request                pending   [seq] = its waiter: a task, or a function (ok, value)
--   context    inherited values, or nil: see S.context_of; inherited: what they are encoded as until then
--   parent     PID of the spawner, or ""
--   inbox, events, listeners                             see mailbox.lua; made on first use
--   watchers, links                                      [pid] = true, or nil
--   listens    its code has asked for its events
--   is_process                                           counts as a process (no function call)
--   named      its end is announced through the host, which frees its names first
--   up         {pid, seq}: the request that hears of the end of its first step, or nil
--   outcome    {pid, seq}: the request that gets its result
--   number     of a call by a run (boundary.lua), or nil
--   caller, waiter   of a function called in this VM: the calling slot, and what of it waits
--   children   [slot] = true: functions it calls in this VM
--   subscriptions   [number] = state: see events.lua; or nil
--   unread     failures of its futures: see future.lua; or nil
--   terminal   arguments of the command line, or nil   reading     number of the request for a line, or nil
--   durable    a workflow run, with now, started (ns), seed, info (see S.info_of), values, versions and replaying besides
--   machine    version of the machine that it began on; nil: this one
--   step_limit   ns of wall clock that a live step of it may take, or nil; step_due, when that is over; overtime
--   arrivals   of it, see unread.lua
--   derived    what is random in it comes from its seed, and its versions from markers; drawn: how many blocks so far
--
-- S.new_slot(proto, pid, context, parent, durable) -> slot      nothing runs before S.start_main
-- S.live                     number of processes
-- S.pid_of(slot) -> pid      S.slots[pid] = slot      S.entry_of(slot) -> entry id
-- S.context_of(slot) -> table | nil      S.info_of(slot) -> table, of a workflow run      S.calls[number] = slot
-- S.next_seq(slot) -> seq    number of a request
-- S.await(seq) -> value, nil | nil, err      the running task waits for its answer
-- S.expect(slot, waiter, seq)                a function hears of it instead
-- S.answer(slot, seq, ok, value)      S.resolve(slot, waiter, ok, value)
local S = ...
local type = type
local wake, block, queue_of, FUEL = S.wake, S.block, S.queue_of, S.fuel

local slots = {}
S.slots = slots
S.calls = {}
S.live = 0

function S.new_slot(proto, pid, context, parent, durable)
  -- One constructor with nearly all fields: the table never grows for most slots.
  local slot = {
    proto = proto, pid = pid, context = context, parent = parent, durable = durable or false,
    queue = queue_of(durable), fuel = FUEL, seq = 0, main = false, env = false,
    tasks = 0, blocked = 0, dead = false,
  }
  if pid then slots[pid] = slot end
  return slot
end

function S.pid_of(slot)
  local pid = slot.pid
  if not pid then
    pid = S.new_pid()
    slot.pid = pid
    slots[pid] = slot
  end
  return pid
end

function S.context_of(slot)
  local bytes = slot.inherited
  if bytes then slot.context, slot.inherited = S.decode(bytes), nil end
  return slot.context
end

function S.info_of(slot)
  local info = slot.info
  if type(info) == "string" then
    info = S.decode(info)
    slot.info = info
  end
  return info
end

function S.entry_of(slot) return slot.proto.id end

function S.next_seq(slot)
  local seq = slot.seq + 1
  slot.seq = seq
  if slot.traced then S.emit_place(slot.pid, S.user_line()) end
  return seq
end

function S.expect(slot, waiter, seq)
  local pending = slot.pending
  if not pending then
    pending = {}
    slot.pending = pending
  end
  pending[seq] = waiter
end
local expect = S.expect

function S.await(seq)
  local value, ok = block(expect, seq)
  if ok then return value, nil end
  return nil, value
end

function S.resolve(slot, waiter, ok, value)
  if type(waiter) == "thread" then
    wake(slot, waiter, value, ok)
  else
    waiter(ok, value)
  end
end

local resolve = S.resolve

function S.answer(slot, seq, ok, value)
  local pending = slot.pending
  local waiter = pending and pending[seq]
  if waiter then
    pending[seq] = nil
    resolve(slot, waiter, ok, value)
  end
end
