-- The module `process`: identity, messages, spawning, links and monitors, names.
--
-- What concerns slots of this VM is done here at once; everything else, and everything that a workflow does,
-- is a command whose answer wakes the caller.
local S = ...
local type, select, pairs, setmetatable = type, select, pairs, setmetatable
local sub, find, yield = string.sub, string.find, coroutine.yield
local BLOCK = S.BLOCK

local MONITORED <const>, LINKED <const>, EXEC <const> = 1, 2, 4

local process = S.process

process.event = { EXIT = "pid.exit", CANCEL = "pid.cancel", LINK_DOWN = "pid.link.down", OUTDATED = "pid.outdated" }

function process.pid() return S.pid_of(S.current) end
function process.id() return S.current.entry end

-- Copy values for another slot of this VM: list, or nil and the error.
local function copy_values(count, ...)
  local values = { ... }
  for i = 1, count do
    local value = values[i]
    local kind = type(value)
    if kind ~= "string" and kind ~= "number" and kind ~= "boolean" and kind ~= "nil" then
      local copied, err = S.try_copy(value)
      if err then return nil, err end
      values[i] = copied
    end
  end
  return values
end
S.copy_values = copy_values

local function check_topic(where, topic)
  if type(topic) ~= "string" or topic == "" then return S.bad_argument(where, "topic", "a text", topic) end
  if sub(topic, 1, 1) == "@" then
    return S.new_error("Invalid", where .. ': topic "' .. topic .. '" starts with @, which is reserved')
  end
end

function process.send(dest, topic, ...)
  if type(dest) ~= "string" or dest == "" then
    return nil, S.bad_argument("process.send", "destination", "a PID or a name", dest)
  end
  local wrong = check_topic("process.send", topic)
  if wrong then return nil, wrong end
  local slot = S.current
  local count = select("#", ...)
  if not slot.durable then
    local target = S.slots[dest]
    if target and not target.durable then
      local values, err = copy_values(count, ...)
      if not values then return nil, err end
      S.busy = true
      S.deliver(target, topic, S.pid_of(slot), values, count)
      S.busy = false
      return true
    end
  end
  local args, err = S.try_encode_values(...)
  if not args then return nil, err end
  local seq = S.next_seq(slot)
  S.emit_send(S.pid_of(slot), seq, dest, topic, args)
  return S.await(slot, seq)
end

-- options: name, options, context (own additions), messages; all may be nil
local function spawn(where, flags, builder, id, host, ...)
  if type(id) ~= "string" or not find(id, ":", 1, true) then
    return nil, S.bad_argument(where, "entry id", "namespace:name", id)
  end
  if type(host) ~= "string" or host == "" then
    return nil, S.bad_argument(where, "host", "the entry id of a host", host)
  end
  local slot = S.current
  local count = select("#", ...)
  local context = slot.context
  if builder and builder.context then context = S.merge(context, builder.context) end
  local definition = S.definition(id)
  if
    host == S.host and not slot.durable and not S.crowded and flags < EXEC and definition
    and definition.kind == "process.lua" and not (builder and (builder.name or builder.options))
  then
    local values, err = copy_values(count, ...)
    if not values then return nil, err end
    local own = S.pid_of(slot)
    local child
    child, err = S.spawn_here(id, values, count, context, own)
    if not child then return nil, err end
    if flags & MONITORED ~= 0 then child.watchers = { [own] = true } end
    if flags & LINKED ~= 0 then
      child.links = { [own] = true }
      S.add_to(slot, "links", child.pid)
    end
    for _, message in pairs(builder and builder.messages or {}) do
      S.deliver(child, message[1], own, S.decode_list(message[2]))
    end
    return child.pid
  end
  local args, err = S.try_encode_values(...)
  if not args then return nil, err end
  local seq = S.next_seq(slot)
  S.emit_spawn(
    S.pid_of(slot), seq, id, host, args, flags, builder and builder.name,
    builder and builder.options and S.encode(builder.options),
    context and S.encode(context), builder and builder.messages
  )
  local pid
  pid, err = S.await(slot, seq)
  if pid and flags & LINKED ~= 0 then S.add_to(slot, "links", pid) end
  return pid, err
end
S.spawn = spawn

-- A process of this VM; it is in place, but has not run yet.
function S.spawn_here(id, values, count, context, parent)
  S.busy = true
  local child, err = S.new_slot(id, { pid = S.new_pid(), context = context, parent = parent, is_process = true }, values, count)
  if child then S.live = S.live + 1 end
  S.busy = false
  return child, err
end

function process.spawn(id, host, ...) return spawn("process.spawn", 0, nil, id, host, ...) end
function process.spawn_monitored(id, host, ...) return spawn("process.spawn_monitored", MONITORED, nil, id, host, ...) end
function process.spawn_linked(id, host, ...) return spawn("process.spawn_linked", LINKED, nil, id, host, ...) end
function process.spawn_linked_monitored(id, host, ...)
  return spawn("process.spawn_linked_monitored", MONITORED | LINKED, nil, id, host, ...)
end
function process.exec(id, host, ...) return spawn("process.exec", EXEC, nil, id, host, ...) end

-- terminate, cancel, monitor, unmonitor, link, unlink -------------------------------------------------

-- What a verb does to a slot of this VM on behalf of `from`.
local verbs = {}
S.verbs = verbs
function verbs.terminate(target) S.finish(target, false, S.new_error("Canceled", "process terminated")) end
function verbs.cancel(target, from, reason)
  S.deliver_event(target, { kind = "pid.cancel", from = from, at = S.wall(), reason = reason })
end
function verbs.monitor(target, from) S.add_to(target, "watchers", from) end
function verbs.unmonitor(target, from) S.remove_from(target, "watchers", from) end
function verbs.link(target, from) S.add_to(target, "links", from) end
function verbs.unlink(target, from) S.remove_from(target, "links", from) end

local function control(verb, dest, reason)
  if type(dest) ~= "string" or dest == "" then
    return nil, S.bad_argument("process." .. verb, "destination", "a PID or a name", dest)
  end
  local slot = S.current
  local own = S.pid_of(slot)
  local target = not slot.durable and S.slots[dest]
  if target and not target.durable then
    if (verb == "link" or verb == "unlink") and target == slot then return true end
    S.busy = true
    verbs[verb](target, own, reason)
    if verb == "link" then S.add_to(slot, "links", dest) end
    if verb == "unlink" then S.remove_from(slot, "links", dest) end
    S.busy = false
    if slot.dead then return yield(BLOCK) end
    return true
  end
  local seq = S.next_seq(slot)
  -- Linked before the answer: the other's end may come ahead of it.
  if verb == "link" then S.add_to(slot, "links", dest) end
  S.emit_control(own, seq, verb, dest, reason)
  local ok, err = S.await(slot, seq)
  if verb == "unlink" or (verb == "link" and not ok) then S.remove_from(slot, "links", dest) end
  return ok, err
end

function process.terminate(dest) return control("terminate", dest) end
function process.cancel(dest, reason)
  if reason ~= nil and type(reason) ~= "string" then
    return nil, S.bad_argument("process.cancel", "reason", "a text", reason)
  end
  return control("cancel", dest, reason)
end
for _, verb in pairs({ "monitor", "unmonitor", "link", "unlink" }) do
  process[verb] = function(dest)
    if S.current.durable then
      return nil, S.new_error("Invalid", "process." .. verb .. ": not supported in workflow context")
    end
    return control(verb, dest)
  end
end

-- options ---------------------------------------------------------------------------------------------

function process.get_options()
  local slot = S.current
  return { trap_links = slot.trap_links or false, upgradable = slot.upgradable or false }
end

function process.set_options(options)
  if type(options) ~= "table" then
    return false, S.bad_argument("process.set_options", "options", "a table", options)
  end
  for key, value in pairs(options) do
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

-- names -----------------------------------------------------------------------------------------------

local function name_request(verb, name, target)
  if type(name) ~= "string" or name == "" then
    return nil, S.bad_argument("process.registry." .. verb, "name", "a text", name)
  end
  if target ~= nil and type(target) ~= "string" then
    return nil, S.bad_argument("process.registry." .. verb, "pid", "a PID", target)
  end
  local slot = S.current
  if verb == "register" and (target == nil or target == slot.pid) then slot.named = true end
  local seq = S.next_seq(slot)
  S.emit_name(S.pid_of(slot), seq, verb, name, target)
  return S.await(slot, seq)
end

process.registry = {
  register = function(name, pid) return name_request("register", name, pid) end,
  lookup = function(name) return name_request("lookup", name) end,
  unregister = function(name) return name_request("unregister", name) end,
}

-- builders --------------------------------------------------------------------------------------------

local builder_methods = {}
local builder_mt = S.own_type("builder", { __index = builder_methods })

local function extended(builder, key, value)
  local copy = {}
  for k, v in pairs(builder or {}) do copy[k] = v end
  copy[key] = value
  return setmetatable(copy, builder_mt)
end

function builder_methods.with_context(builder, context)
  if type(context) ~= "table" then return nil, S.bad_argument("with_context", "context", "a table", context) end
  return extended(builder, "context", S.merge(builder and builder.context, S.copy(context)))
end
function builder_methods.with_options(builder, options)
  if type(options) ~= "table" then return nil, S.bad_argument("with_options", "options", "a table", options) end
  return extended(builder, "options", S.merge(builder and builder.options, S.copy(options)))
end
function builder_methods.with_name(builder, name)
  if type(name) ~= "string" or name == "" then return nil, S.bad_argument("with_name", "name", "a text", name) end
  return extended(builder, "name", name)
end
function builder_methods.with_message(builder, topic, ...)
  local wrong = check_topic("with_message", topic)
  if wrong then return nil, wrong end
  local args, err = S.try_encode_values(...)
  if not args then return nil, err end
  local messages = {}
  for i, message in pairs(builder and builder.messages or {}) do messages[i] = message end
  messages[#messages + 1] = { topic, args }
  return extended(builder, "messages", messages)
end
-- Accepted for compatibility: there is no security context to carry yet.
function builder_methods.with_actor(builder) return extended(builder) end
function builder_methods.with_scope(builder) return extended(builder) end

for name, flags in pairs({ spawn = 0, spawn_monitored = MONITORED, spawn_linked = LINKED, spawn_linked_monitored = MONITORED | LINKED, exec = EXEC }) do
  builder_methods[name] = function(builder, id, host, ...) return spawn("process." .. name, flags, builder, id, host, ...) end
end

function process.with_context(context) return builder_methods.with_context(nil, context) end
function process.with_options(options) return builder_methods.with_options(nil, options) end

-- A shallow copy of `base` with `more` on top.
function S.merge(base, more)
  local merged = {}
  for key, value in pairs(base or {}) do merged[key] = value end
  for key, value in pairs(more or {}) do merged[key] = value end
  return merged
end

S.modules.process = process
