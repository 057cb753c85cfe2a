-- The boundary: inputs in, commands out, both as msgpack; one crossing serves many slots.
--
-- Inputs are arrays [op, pid, …], or bytes of a fixed layout, see runtime/inputs.py. step(bytes, budget) applies them, runs what became
-- ready, and returns whether something is left to run, the commands, how many processes there are, and how many
-- messages full inboxes dropped or refused.
local S = ...
local ipairs, concat, type = ipairs, table.concat, type
local table_unpack = table.unpack
local byte, unpack = string.byte, string.unpack
local decode = S.decode

local function not_found(pid)
  return S.new_error("NotFound", "process not found: " .. pid)
end

local function reply(reply_pid, reply_seq, ok, value)
  if reply_pid then S.emit_answer(reply_pid, reply_seq, ok, value) end
end

local function is_up(slot)
  S.emit_answer(slot.up[1], slot.up[2], true, slot.pid)
  slot.up = nil
end

-- Let who waits for it know when a slot that begins has come through its first step.
function S.tell_up(slot)
  if slot.up then S.behind_main(slot, is_up) end
end

local inputs = {}

-- options: see runtime/inputs.py, StartOptions
function inputs.start(pid, entry, args, options)
  local to, outcome = options.reply or {}, options.outcome
  local proto, err = S.proto(entry)
  if not proto then
    if pid then S.emit_ended(pid, false, err, entry) end
    if outcome then S.emit_answer(outcome[1], outcome[2], false, err) end
    return reply(to[1], to[2], false, err)
  end
  local slot = S.new_slot(proto, pid or S.new_pid(), nil, options.parent or "", options.durable)
  slot.inherited = options.context
  slot.is_process, slot.named = options.process, options.named
  if slot.is_process then S.live = S.live + 1 end
  slot.outcome, slot.terminal = outcome, options.terminal
  if slot.durable then
    slot.seed, slot.info, slot.traced = options.seed, options.info, options.traced
    slot.step_limit, slot.machine, slot.derived = options.step_limit, options.machine, options.derived
    slot.now, slot.started = options.now, options.now
  end
  local watchers, links, messages = options.watchers or {}, options.links or {}, options.messages or {}
  for i = 1, #watchers do S.add_to(slot, "watchers", watchers[i]) end
  for i = 1, #links do S.link_from_start(slot, links[i]) end
  for i = 1, #messages do
    local message = messages[i]
    S.deliver_carried(slot, message[1], message[3] or slot.parent, message[2])
  end
  slot.began = slot.arrivals and slot.arrivals.serial or 0
  local carried = options.carried or {}
  for i = 1, #carried do
    local message = carried[i]
    S.deliver_carried(slot, message[1], message[3], message[2])
  end
  S.start_main(slot, S.decode_list(args))
  slot.up = options.up
  S.tell_up(slot)
  reply(to[1], to[2], true, slot.pid)
end

-- A function that a run calls: it has no PID unless it asks for one, and its end is a `result` of this number.
local function call(number, entry, args, context)
  local proto, err = S.proto(entry)
  if not proto then return S.emit_result(number, false, err) end
  local slot = S.new_slot(proto, nil, nil, "")
  slot.inherited, slot.number = context, number
  S.calls[number] = slot
  S.start_main(slot, S.decode_list(args))
end

-- verb: cancel or abandon
function inputs.end_call(number, verb, reason)
  local slot = S.calls[number]
  if slot then S.verbs[verb](slot, "", reason) end
end

function inputs.message(pid, topic, from, args, reply_pid, reply_seq)
  local slot, err = S.slots[pid], nil
  if not slot then
    S.emit_dead_letter(pid, topic, from)
    err = not_found(pid)
  elseif not S.deliver(slot, topic, from, S.decode_payload(args)) then
    err = S.inbox_full(pid)
  end
  if reply_pid then S.receipt(reply_pid, reply_seq, err) end
end

function inputs.answer(pid, seq, ok, value)
  local slot = S.slots[pid]
  if slot then S.answer(slot, seq, ok, decode(value)) end
end

local function answer(pid, seq, ok, value)
  local slot = S.slots[pid]
  if slot then S.answer(slot, seq, ok, value) end
end

function inputs.parcel(_, size, records) S.read_parcel(size, records, inputs.message, answer) end

function inputs.signal(pid, event)
  local slot = S.slots[pid]
  if slot then S.signal(slot, decode(event)) end
end

function inputs.events(pid, number, batch, dropped)
  local slot = S.slots[pid]
  if slot then S.take_events(slot, number, batch, dropped) end
end

function inputs.control(pid, verb, from, reason, reply_pid, reply_seq)
  local slot = S.slots[pid]
  if not slot then return reply(reply_pid, reply_seq, false, not_found(pid)) end
  S.verbs[verb](slot, from, reason)
  reply(reply_pid, reply_seq, true, true)
end

-- Somebody else gives the slot a name. The command takes the way of its end, so that none outlives it.
function inputs.name(pid, name, _, _, reply_pid, reply_seq)
  local slot = S.slots[pid]
  if not slot then return reply(reply_pid, reply_seq, false, not_found(pid)) end
  slot.named = true
  S.emit_name(reply_pid, reply_seq, "hold", name, pid)
end

-- changed: map of definitions by id; gone: list of ids
function inputs.define(_, reply_pid, reply_seq, changed, gone)
  S.redefine(changed, gone)
  reply(reply_pid, reply_seq, true, true)
end

-- Take a durable slot out of memory without a trace; it is rebuilt by replay.
function inputs.drop(pid)
  local slot = S.slots[pid]
  if slot then
    slot.dead = true
    S.slots[pid] = nil
  end
end

-- All processes at once, when their host stops.
function inputs.control_all(_, verb, reason)
  for _, slot in ipairs(S.sorted_slots()) do
    if slot.is_process then S.verbs[verb](slot, "", reason) end
  end
end

-- Who lives here: a list of {pid, entry, waiting messages, parent}.
function inputs.list(_, reply_pid, reply_seq)
  local rows = {}
  for _, slot in ipairs(S.sorted_slots()) do
    if slot.is_process then
      rows[#rows + 1] = { slot.pid, S.entry_of(slot), slot.inbox and S.waiting(slot.inbox) or 0, slot.parent or "" }
    end
  end
  S.emit_answer(reply_pid, reply_seq, true, rows)
end

-- How many processes the VM may hold before a spawn has to ask the host where the next one goes.
function inputs.room(_, room) S.room = room end

local function apply(input)
  local f = inputs[input[1]]
  return f(input[2], input[3], input[4], input[5], input[6], input[7])
end

-- values: list of {kind, value} with `next` as position
local function begin_step(slot, now, values, length, size)
  slot.now, slot.replaying, slot.values = now, values ~= nil, values
  slot.history_length, slot.history_size = length, size
end

local function end_step(slot)
  S.run_step(slot)
  slot.values = nil
end

-- One step of a durable slot: inputs are applied in their order, then its code runs until it waits.
-- recorded: list of {kind, value} that this step drew when it was live, or nil when it is live
function inputs.step(pid, now, recorded, list, length, size)
  for i = 1, #list do
    local input = list[i]
    if input[1] == "start" then
      input[5].now = now
      apply(input)
    end
  end
  local slot = S.slots[pid]
  if not slot then return end
  if recorded then recorded.next = 1 end
  begin_step(slot, now, recorded, length, size)
  for i = 1, #list do
    local input = list[i]
    if input[1] ~= "start" and not slot.dead then apply(input) end
  end
  end_step(slot)
end

-- The first step of a run: `step` with a `start` that has few options.
function inputs.begin(pid, entry, args, first)
  local now, length, size, machine, parent, seed, info, context = table_unpack(first, 1, 8)
  local proto, err = S.proto(entry)
  if not proto then return S.emit_ended(pid, false, err, entry) end
  local slot = S.new_slot(proto, pid, nil, parent, true)
  slot.inherited, slot.seed, slot.info, slot.machine = context, seed, info, machine
  slot.started, slot.began = now, 0
  S.start_main(slot, S.decode_list(args))
  begin_step(slot, now, nil, length, size)
  end_step(slot)
end

-- Those of a fixed layout, see runtime/inputs.py.
local packed = {}

packed[1] = function(bytes)
  local number, entry, args, context = unpack("<I8s4s4s4", bytes, 2)
  call(number, entry, args, context)
end

packed[2] = function(bytes)
  local ok, seq, now, length, size, pid, value = unpack("<Bi8i8i8i8s4s4", bytes, 2)
  local slot = S.slots[pid]
  if not slot then return end
  begin_step(slot, now, nil, length, size)
  S.answer(slot, seq, ok == 1, decode(value))
  end_step(slot)
end

local NONE <const> = { next = 1 }

packed[3] = function(bytes)
  local pid, i = unpack("<s4", bytes, 2)
  local slot, last = S.slots[pid], #bytes
  while slot and not slot.dead and i <= last do
    local ok, seq, now, length, size, value
    ok, seq, now, length, size, value, i = unpack("<Bi8i8i8i8s4", bytes, i)
    begin_step(slot, now, NONE, length, size)
    S.answer(slot, seq, ok == 1, decode(value))
    end_step(slot)
  end
end

function S.step(bytes, budget)
  local batch = decode(bytes)
  for i = 1, #batch do
    local input = batch[i]
    if type(input) == "string" then
      packed[byte(input)](input)
    else
      apply(input)
    end
  end
  local more = S.run_slice(budget)
  if not more then more = S.dismiss() end
  local dropped = S.dropped
  S.dropped = 0
  return more, S.take_commands(), S.live, dropped
end

-- What a source offers, for a check before anything starts. Its chunk runs as a step of a workflow of which nothing
-- is performed. Returns nil when the method is there, else the names of what is; or nil and what is wrong.
function S.inspect(id)
  local proto, err = S.proto(id)
  if not proto then return nil, err:message() end
  local names
  local checked = { id = id, globals = proto.globals, enter = function() return function() names = proto.offers() end end }
  local slot = S.new_slot(checked, "{check|" .. id .. "}", nil, "", true)
  slot.seed, slot.info, slot.now, slot.started = ("\0"):rep(32), {}, 0, 0
  S.start_main(slot, {}, 0)
  S.run_step(slot)
  inputs.drop(slot.pid)
  S.take_commands()
  return names and concat(names, "\n"), nil
end
