-- The boundary: inputs in, commands out, both as msgpack; one crossing serves many slots.
--
-- Inputs are arrays [op, pid, …], see runtime/inputs.py. step(bytes, budget) applies them, runs what became
-- ready, and returns whether something is left to run and the commands.
local S = ...
local pairs, resume, concat, type = pairs, coroutine.resume, table.concat, type
local decode = S.decode

local function not_found(pid)
  return S.new_error("NotFound", "process not found: " .. pid)
end

local function reply(reply_pid, reply_seq, ok, value)
  if reply_pid then S.emit_answer(reply_pid, reply_seq, ok, value) end
end

local inputs = {}

-- options: see runtime/inputs.py, Start
function inputs.start(pid, entry, args, options)
  local values, count = S.decode_list(args)
  local durable = options.durable
  local watchers, links = options.watchers, options.links
  local slot, err = S.new_slot(entry, {
    pid = pid or S.new_pid(),
    context = options.context and decode(options.context),
    parent = options.parent or "",
    is_process = options.process,
    named = options.named,
    outcome = options.outcome,
    terminal = options.terminal,
    durable = durable,
    seed = durable and options.seed,
    info = durable and options.info,
    started = durable and options.now,
    now = durable and options.now,
  }, values, count)
  if not slot then
    if options.outcome then S.emit_answer(options.outcome[1], options.outcome[2], false, err) end
    return reply(options.reply and options.reply[1], options.reply and options.reply[2], false, err)
  end
  if slot.is_process then S.live = S.live + 1 end
  for _, watcher in pairs(watchers or {}) do S.add_to(slot, "watchers", watcher) end
  for _, peer in pairs(links or {}) do S.add_to(slot, "links", peer) end
  for _, message in pairs(options.messages or {}) do
    local list, length = S.decode_list(message[2])
    S.deliver(slot, message[1], slot.parent, list, length)
  end
  if options.reply then reply(options.reply[1], options.reply[2], true, slot.pid) end
end

function inputs.message(pid, topic, from, args, reply_pid, reply_seq)
  local slot = S.slots[pid]
  if not slot then return reply(reply_pid, reply_seq, false, not_found(pid)) end
  local values, count = S.decode_list(args)
  S.deliver(slot, topic, from, values, count)
  reply(reply_pid, reply_seq, true, true)
end

function inputs.answer(pid, seq, ok, value)
  local slot = S.slots[pid]
  if slot then S.answer(slot, seq, ok, decode(value)) end
end

function inputs.signal(pid, event)
  local slot = S.slots[pid]
  if slot then S.signal(slot, decode(event)) end
end

function inputs.control(pid, verb, from, reason, reply_pid, reply_seq)
  local slot = S.slots[pid]
  if not slot then return reply(reply_pid, reply_seq, false, not_found(pid)) end
  S.verbs[verb](slot, from, reason)
  reply(reply_pid, reply_seq, true, true)
end

function inputs.name(pid, held)
  local slot = S.slots[pid]
  if slot then slot.named = held end
end

function inputs.define(id, definition) S.define(id, definition) end
function inputs.undefine(id) S.forget_definition(id) end

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
  for _, slot in pairs(S.sorted_slots()) do
    if slot.is_process then S.verbs[verb](slot, "", reason) end
  end
end

-- Who lives here: a list of {pid, entry, waiting messages, parent}.
function inputs.list(_, reply_pid, reply_seq)
  local rows = {}
  for _, slot in pairs(S.sorted_slots()) do
    if slot.is_process then
      rows[#rows + 1] = { slot.pid, slot.entry, slot.inbox and S.waiting(slot.inbox) or 0, slot.parent or "" }
    end
  end
  S.emit_answer(reply_pid, reply_seq, true, rows)
end

-- Whether new processes should be placed elsewhere: this VM has too many of them.
function inputs.crowded(_, crowded) S.crowded = crowded end

local function apply(input)
  local f = inputs[input[1]]
  return f(input[2], input[3], input[4], input[5], input[6], input[7])
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
  slot.now, slot.replaying = now, recorded ~= nil
  slot.history_length, slot.history_size = length, size
  slot.values = recorded
  if recorded then recorded.next = 1 end
  for i = 1, #list do
    local input = list[i]
    if input[1] ~= "start" and not slot.dead then apply(input) end
  end
  S.run_step(slot)
  slot.values = nil
end

function S.step(bytes, budget)
  local batch = decode(bytes)
  for i = 1, #batch do apply(batch[i]) end
  local more = S.run_slice(budget)
  return more, S.take_commands()
end

-- What a source offers, for a check before anything starts: run its chunk with nothing behind it.
-- Returns "" when the method is there (or cannot be told), else the names of what is there.
function S.inspect(id)
  local proto, err = S.proto(id)
  if not proto then return nil, err:message() end
  local slot = { entry = id, proto = proto, tasks = 1, blocked = 0, fuel = S.fuel, seq = 0, pid = "{check|" .. id .. "}", durable = proto.durable, seed = ("\0"):rep(32), now = 0, started = 0, info = {} }
  local co = S.new_coroutine(proto.offers)
  slot.main = co
  S.current, S.co = slot, co
  local ok, offers = resume(co)
  S.current, S.co = nil, nil
  S.take_commands()
  if ok and type(offers) == "table" and offers.found == false then return concat(offers.names, "\n"), "missing" end
  return "", nil
end
