-- Spawning: process.spawn… and exec, and the builder that process.with_… returns.
--
-- A process of this VM is made at once, unless its host wants to place it. All else is a command: its
-- answer is the PID, or for exec the result.
--
-- S.spawn(where, flags, builder, id, host, …) -> pid | nil, err     builder: nil, or fields context, options
--     (tables), name, messages (list of {topic, encoded arguments})
-- S.EXEC: the flag of exec
-- S.merge(base, more) -> a shallow copy of `base` with `more` on top
local S = ...
local find, next, setmetatable, type = string.find, next, setmetatable, type
local process = S.process

S.room = math.huge

local MONITORED <const>, LINKED <const>, EXEC <const> = 1, 2, 4 -- as in runtime/commands.py
S.EXEC = EXEC

function S.merge(base, more)
  local merged = {}
  for key, value in next, base or {} do merged[key] = value end
  for key, value in next, more or {} do merged[key] = value end
  return merged
end

local function check(where, id, host)
  if not S.is_text(id) or not find(id, "^[^:]+:[^:]+$") then
    return S.bad_argument(where, "entry id", "namespace:name", id)
  end
  if not S.is_text(host) then
    return S.bad_argument(where, "host", "the entry id of a host", host)
  end
end

local function spawn_here(slot, flags, builder, proto, context, ...)
  local count, values = S.copy_values(...)
  if not count then return nil, values end
  local own = S.pid_of(slot)
  S.busy = true
  local pid = S.new_pid()
  local child = S.new_slot(proto, pid, context, own)
  child.is_process = true
  S.live = S.live + 1
  if flags & MONITORED ~= 0 then S.add_to(child, "watchers", own) end
  if flags & LINKED ~= 0 then
    S.add_to(child, "links", own)
    S.add_to(slot, "links", pid)
  end
  local messages = builder and builder.messages
  for i = 1, messages and #messages or 0 do
    S.deliver(child, messages[i][1], own, S.decode_payload(messages[i][2]))
  end
  S.start_main(child, values, count)
  S.busy = false
  return pid
end

local function is_local(slot, flags, builder, id, host)
  if host ~= S.host or slot.durable or S.live > S.room or flags & EXEC ~= 0 then return false end
  if builder and (builder.name or builder.options) then return false end
  return S.kind_of(id) == "process.lua"
end

-- The link is there with the answer: the child's end may come right behind it, before the task goes on.
local function wait_for_linked(slot, task, seq)
  S.expect(slot, function(ok, pid)
    if ok then S.add_to(slot, "links", pid) end
    S.wake(slot, task, pid, ok)
  end, seq)
end

function S.spawn(where, flags, builder, id, host, ...)
  local wrong = check(where, id, host)
  if wrong then return nil, wrong end
  local slot = S.current
  local context = S.context_of(slot)
  if builder and builder.context then context = S.merge(context, builder.context) end
  if is_local(slot, flags, builder, id, host) then
    local proto, err = S.proto(id)
    if not proto then return nil, err end
    return spawn_here(slot, flags, builder, proto, context, ...)
  end
  local args, err = S.encode_outgoing("the arguments of ", id, ...)
  if not args then return nil, err end
  local seq = S.next_seq(slot)
  S.emit_spawn(
    S.pid_of(slot), seq, id, host, args, flags, builder and builder.name,
    builder and builder.options and S.encode(builder.options),
    context and S.encode(context), builder and builder.messages
  )
  if flags & LINKED == 0 then return S.await(seq) end
  local pid, ok = S.block(wait_for_linked, seq)
  if ok then return pid, nil end
  return nil, pid
end
local spawn = S.spawn

-- Builders: immutable; their fields are under a private key. --------------------------------------------

local FIELDS = {}
local methods = {}
local builder_mt = S.own_type("builder", { __index = methods })

local function fields_of(builder) return builder and builder[FIELDS] end

local function extended(builder, key, value)
  local fields = S.merge(fields_of(builder), nil)
  if key then fields[key] = value end
  return setmetatable({ [FIELDS] = fields }, builder_mt)
end

-- with_context and with_options: what is there already, with these values on top.
local function with_values(where, builder, key, values)
  if type(values) ~= "table" or S.own_name(values) then
    return nil, S.bad_argument(where, key, "a table", values)
  end
  local copied, err = S.try_copy(values)
  if err then return nil, S.error_in(where, err) end
  local fields = fields_of(builder)
  return extended(builder, key, S.merge(fields and fields[key], copied))
end

function methods.with_context(builder, context) return with_values("with_context", builder, "context", context) end
function methods.with_options(builder, options) return with_values("with_options", builder, "options", options) end

function methods.with_name(builder, name)
  if not S.is_text(name) or find(name, "[|{}@]") then
    return nil, S.bad_argument("with_name", "name", "a text without | { } @", name)
  end
  return extended(builder, "name", name)
end

function methods.with_message(builder, topic, ...)
  local wrong = S.check_topic("with_message", topic)
  if wrong then return nil, wrong end
  local args, err = S.encode_outgoing("the message ", topic, ...)
  if not args then return nil, err end
  local fields, messages = fields_of(builder), {}
  local before = fields and fields.messages or messages
  for i = 1, #before do messages[i] = before[i] end
  messages[#messages + 1] = { topic, args }
  return extended(builder, "messages", messages)
end

-- Accepted for compatibility: there is no security context to carry yet.
function methods.with_actor(builder) return extended(builder) end
function methods.with_scope(builder) return extended(builder) end

local FLAGS = {
  spawn = 0, spawn_monitored = MONITORED, spawn_linked = LINKED,
  spawn_linked_monitored = MONITORED | LINKED, exec = EXEC,
}
for name, flags in next, FLAGS do
  local where = "process." .. name
  process[name] = function(id, host, ...) return spawn(where, flags, nil, id, host, ...) end
  methods[name] = function(builder, id, host, ...) return spawn(where, flags, fields_of(builder), id, host, ...) end
end

function process.with_context(context) return methods.with_context(nil, context) end
function process.with_options(options) return methods.with_options(nil, options) end
