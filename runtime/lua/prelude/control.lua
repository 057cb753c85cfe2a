-- terminate, cancel, abandon, monitor, unmonitor, link and unlink.
--
-- S.verbs[verb](slot, from, reason): what each does to a slot of this VM on behalf of `from`.
-- S.link_from_start(slot, peer): a new slot is linked to `peer`, which may have ended meanwhile
-- S.dismiss() -> true if any: end what is to stop, waits with nothing under way and would not hear a CANCEL.
--     For when nothing is ready.
local S = ...
local error, isyieldable, next, sub, type = error, coroutine.isyieldable, next, string.sub, type
local process, slots = S.process, S.slots

local verbs = {}
S.verbs = verbs

function verbs.terminate(slot) S.finish(slot, false, S.new_error("Canceled", "process terminated")) end
function verbs.cancel(slot, from, reason)
  S.deliver_event(slot, { kind = "pid.cancel", from = from, at = S.now_of(slot), reason = reason })
end
function verbs.abandon(slot, _, reason) S.abandon(slot, S.new_error("Canceled", reason)) end
-- The orderly end. One that never looked at its events would not see the CANCEL.
local deaf = {} -- [slot] = true
function verbs.stop(slot, from, reason)
  if not slot.listens then deaf[slot] = true end
  verbs.cancel(slot, from, reason)
end

-- Whether it waits for something that will come by itself; a line that somebody may type is none.
local function is_busy(slot)
  for seq in next, slot.pending or {} do
    if seq ~= slot.reading then return true end
  end
  return slot.children ~= nil and next(slot.children) ~= nil
end

function S.dismiss()
  local any = false
  for slot in next, deaf do
    if slot.dead or slot.listens then
      deaf[slot] = nil
    elseif not is_busy(slot) then
      deaf[slot] = nil
      verbs.terminate(slot)
      any = true
    end
  end
  return any
end

function verbs.monitor(slot, from) S.add_to(slot, "watchers", from) end
function verbs.unmonitor(slot, from) S.remove_from(slot, "watchers", from) end
function verbs.link(slot, from) S.add_to(slot, "links", from) end
function verbs.unlink(slot, from) S.remove_from(slot, "links", from) end
-- Asked only to learn whether the slot is there.
function verbs.probe() end

function S.link_from_start(slot, peer)
  S.add_to(slot, "links", peer)
  if slots[peer] then return end
  local seq = S.next_seq(slot)
  S.expect(slot, function(ok, err)
    if not ok then
      S.signal(slot, { kind = "pid.link.down", from = peer, at = S.now_of(slot), result = { error = err } })
    end
  end, seq)
  S.emit_control(slot.pid, seq, "link", peer)
end

local function control_here(slot, verb, target, reason)
  local own = S.pid_of(slot)
  if target == slot and (verb == "link" or verb == "unlink") then return true end
  S.busy = true
  verbs[verb](target, own, reason)
  if verb == "link" then S.add_to(slot, "links", target.pid) end
  if verb == "unlink" then S.remove_from(slot, "links", target.pid) end
  S.busy = false
  if slot.dead then
    -- It ended itself, directly or through a link: nothing of it runs any more.
    slot.killed = "terminated"
    if isyieldable() then S.block(function() end) end
    error(nil)
  end
  return true
end

local function control(verb, dest, reason)
  if not S.is_text(dest) then
    return nil, S.bad_argument("process." .. verb, "destination", "a PID or a name", dest)
  end
  local slot, target = S.current, slots[dest]
  if not target and (verb == "link" or verb == "unlink") and sub(dest, 1, 1) ~= "{" then
    -- Events come from PIDs, so that is what a link is to.
    local pid, err = process.registry.lookup(dest)
    if not pid then return nil, err end
    dest, target = pid, slots[pid]
  end
  if target and not slot.durable and not target.durable then return control_here(slot, verb, target, reason) end
  local seq = S.next_seq(slot)
  -- Linked before the answer: the other's end may come ahead of it.
  if verb == "link" then S.add_to(slot, "links", dest) end
  S.emit_control(S.pid_of(slot), seq, verb, dest, reason)
  local ok, err = S.await(seq)
  if verb == "unlink" or (verb == "link" and not ok) then S.remove_from(slot, "links", dest) end
  return ok, err
end

function process.terminate(dest) return control("terminate", dest) end

function process.cancel(dest, reason)
  if reason ~= nil and reason ~= "" and not S.is_text(reason) then
    return nil, S.bad_argument("process.cancel", "reason", "a text", reason)
  end
  return control("cancel", dest, reason)
end

for _, verb in next, { "monitor", "unmonitor", "link", "unlink" } do
  process[verb] = function(dest)
    if S.current.durable then
      return nil, S.new_error("Invalid", "process." .. verb .. ": not supported in workflow context")
    end
    return control(verb, dest)
  end
end
