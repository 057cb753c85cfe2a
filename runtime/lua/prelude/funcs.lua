-- The module `funcs`: calling functions.
--
-- An inline Lua function called by a function or process runs in a slot of its own in the caller's VM, and
-- its end wakes the caller directly. Every other call is a command. A call that nobody wants any more, because it
-- was cancelled or its caller ended, ends with CANCELED; what was called hears CANCEL, see S.abandon.
--
-- S.start_call(where, executor, done, id, …) -> cancel | nil, err     starts a call whose end the function
--     done(ok, value) hears of. executor: nil, or fields context, options (tables)
-- S.async(executor, id, …): see future.lua
local S = ...
local find, setmetatable, type = string.find, setmetatable, type
local BLOCK, yield, copy_values, new_slot, start_main = S.BLOCK, coroutine.yield, S.copy_values, S.new_slot, S.start_main

local CALL_COST <const> = 200 -- instructions
local MAX_DEPTH <const> = 200 -- calls within calls in one VM

local left = 0 -- the counter of fuel.lua

local function start_here(slot, waiter, proto, context, ...)
  left = left - CALL_COST
  local count, values = copy_values(...)
  if not count then return nil, values end
  local depth = (slot.depth or 0) + 1
  if depth > MAX_DEPTH then
    return nil, S.new_error("Internal", "function calls nested deeper than " .. MAX_DEPTH .. ": does " .. proto.id .. " call itself without end?")
  end
  local child = new_slot(proto, nil, context, "")
  child.caller, child.waiter, child.depth = slot, waiter, depth
  local children = slot.children
  if not children then
    children = {}
    slot.children = children
  end
  children[child] = true
  start_main(child, values, count)
  return child
end

S.share(start_here, "left")

local checked -- the id that was found good last

local function check(where, id)
  if id == checked then return end
  if not S.is_text(id) or not find(id, "^[^:]+:[^:]+$") then
    return S.bad_argument(where, "function id", "namespace:name", id)
  end
  checked = id
end

-- Start a call; returns the slot that runs it here, or the number of the request; or nil, err.
local function start(where, executor, waiter, id, ...)
  local slot = S.current
  local context = S.context_of(slot)
  if executor and executor.context then context = S.merge(context, executor.context) end
  local proto = not slot.durable and not (executor and executor.options) and S.inline_proto(id)
  if proto then return start_here(slot, waiter, proto, context, ...) end
  local wrong = check(where, id)
  if wrong then return nil, wrong end
  local args, err = S.encode_outgoing("the arguments of ", id, ...)
  if not args then return nil, err end
  local seq = S.next_seq(slot)
  if waiter then S.expect(slot, waiter, seq) end
  S.emit_call(
    S.pid_of(slot), seq, id, args,
    executor and executor.options and S.encode(executor.options), context and S.encode(context)
  )
  return seq
end

function S.start_call(where, executor, done, id, ...)
  local slot = S.current
  local call, err = start(where, executor, done, id, ...)
  if not call then return nil, err end
  return function()
    if type(call) == "table" then
      S.abandon(call, S.new_error("Canceled", "canceled"))
    else
      S.emit_cancel_call(S.pid_of(slot), call)
    end
  end
end

-- The running task hears of the end of what start() returned.
local function wait_for(slot, task, started)
  if type(started) == "table" then
    started.waiter = task
  else
    S.expect(slot, task, started)
  end
end

local function call(executor, id, ...)
  local started, err = start("funcs.call", executor, nil, id, ...)
  if not started then return nil, err end
  local value, ok = yield(BLOCK, wait_for, started)
  if ok then return value, nil end
  return nil, value
end

-- Executors: immutable; their fields are under a private key. -------------------------------------------

local FIELDS = {}
local methods = {}
local executor_mt = S.own_type("executor", { __index = methods })

local function extended(executor, key, values)
  local fields = S.merge(executor[FIELDS], nil)
  if key then
    local where = "with_" .. key
    if type(values) ~= "table" or S.own_name(values) then return nil, S.bad_argument(where, key, "a table", values) end
    local copied, err = S.try_copy(values)
    if err then return nil, S.error_in(where, err) end
    fields[key] = S.merge(fields[key], copied)
  end
  return setmetatable({ [FIELDS] = fields }, executor_mt)
end

function methods.with_context(executor, context) return extended(executor, "context", context) end
function methods.with_options(executor, options) return extended(executor, "options", options) end
-- Accepted for compatibility: there is no security context to carry yet.
function methods.with_actor(executor) return extended(executor) end
function methods.with_scope(executor) return extended(executor) end
function methods.call(executor, id, ...) return call(executor[FIELDS], id, ...) end
function methods.async(executor, id, ...) return S.async(executor[FIELDS], id, ...) end

S.modules.funcs = {
  call = function(id, ...) return call(nil, id, ...) end,
  async = function(id, ...) return S.async(nil, id, ...) end,
  new = function() return setmetatable({ [FIELDS] = {} }, executor_mt) end,
}
