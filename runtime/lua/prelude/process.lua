-- The module `process`: identity, sending, options. The rest of it is in mailbox, spawn, control and names.
--
-- What concerns slots of this VM is done here at once; everything else, and everything that a workflow does,
-- is a command whose answer wakes the caller.
local S = ...
local next, select, type = next, select, type
local slots, copy_payload, deliver, pid_of = S.slots, S.copy_payload, S.deliver, S.pid_of
local process = S.process

local SEND_COST <const> = 50 -- instructions

process.event = { EXIT = "pid.exit", CANCEL = "pid.cancel", LINK_DOWN = "pid.link.down", OUTDATED = "pid.outdated" }

function process.pid() return pid_of(S.current) end
function process.id() return S.entry_of(S.current) end

-- Topics that were checked once.
local known, known_count = {}, 0

local function check(dest, topic)
  if not S.is_text(dest) then
    return S.bad_argument("process.send", "destination", "a PID or a name", dest)
  end
  local wrong = S.check_topic("process.send", topic)
  if wrong then return wrong end
  if known_count == 1000 then
    known, known_count = {}, 0
  end
  known[topic], known_count = true, known_count + 1
end

local PLAIN = { string = true, number = true, boolean = true }

local left = 0 -- the counter of fuel.lua

function process.send(dest, topic, ...)
  left = left - SEND_COST
  local slot, target = S.current, slots[dest]
  if not target or not known[topic] then
    local wrong = check(dest, topic)
    if wrong then return nil, wrong end
  end
  if target and not slot.durable and not target.durable then
    local count, value, is_table = 1, ...
    if PLAIN[type(value)] and select("#", ...) == 1 then
      is_table = false
    else
      count, value, is_table = copy_payload(...)
      if not count then return nil, value end
    end
    S.busy = true
    local taken = deliver(target, topic, slot.pid or pid_of(slot), count, value, is_table)
    S.busy = false
    if not taken then return nil, S.inbox_full(dest) end
    return true
  end
  local args, err = S.encode_outgoing("the message ", topic, ...)
  if not args then return nil, err end
  local seq = S.next_seq(slot)
  S.dispatch(slot, seq, dest, topic, args)
  return S.await(seq)
end
S.share(process.send, "left")

function process.get_options()
  local slot = S.current
  return { trap_links = slot.trap_links or false, upgradable = slot.upgradable or false }
end

function process.set_options(options)
  if type(options) ~= "table" then
    return false, S.bad_argument("process.set_options", "options", "a table", options)
  end
  for key, value in next, options do
    if key ~= "trap_links" and key ~= "upgradable" then
      return false, S.new_error("Invalid", "process.set_options: unknown option " .. S.show(key) .. "; there are trap_links and upgradable")
    end
    if type(value) ~= "boolean" then
      return false, S.bad_argument("process.set_options", key, "true or false", value)
    end
  end
  local slot = S.current
  if options.trap_links ~= nil then slot.trap_links = options.trap_links end
  if options.upgradable ~= nil then slot.upgradable = options.upgradable end
  return true
end

S.modules.process = process
