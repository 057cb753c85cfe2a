-- The modules `funcs` and `ctx`: function calls, futures, inherited context.
--
-- An inline Lua function called by a function or process runs in a slot of its own in the caller's VM, and
-- its end wakes the caller directly. Every other call is a command.
local S = ...
local type, select, find, pairs, setmetatable = type, select, string.find, pairs, setmetatable
local yield = coroutine.yield
local BLOCK = S.BLOCK

local function check_id(where, id)
  if type(id) ~= "string" or not find(id, "^[^:]+:[^:]+$") then
    return S.bad_argument(where, "function id", "namespace:name", id)
  end
end

-- Start a call; `done(ok, value)` hears its end once. Returns a function that cancels it, or nil, err.
local function start(where, executor, done, id, ...)
  local wrong = check_id(where, id)
  if wrong then return nil, wrong end
  local slot = S.current
  local count = select("#", ...)
  local context = slot.context
  if executor and executor.context then context = S.merge(context, executor.context) end
  local definition = S.definition(id)
  if not slot.durable and definition and definition.inline and not (executor and executor.options) then
    local values, err = S.copy_values(count, ...)
    if not values then return nil, err end
    S.busy = true
    local child
    child, err = S.new_slot(id, { context = context, parent_slot = slot, on_end = done }, values, count)
    if child then
      local children = slot.children
      if not children then
        children = {}
        slot.children = children
      end
      children[child] = true
    end
    S.busy = false
    if not child then return nil, err end
    return function() S.finish(child, false, S.new_error("Canceled", "canceled")) end
  end
  local args, err = S.try_encode_values(...)
  if not args then return nil, err end
  local seq = S.next_seq(slot)
  S.expect(slot, seq, done)
  S.emit_call(
    S.pid_of(slot), seq, id, args,
    executor and executor.options and S.encode(executor.options), context and S.encode(context)
  )
  return function() S.emit_cancel_call(S.pid_of(slot), seq) end
end

local function call(executor, id, ...)
  local slot, task = S.current, S.co
  local cancel, err = start("funcs.call", executor, function(ok, value) S.wake(slot, task, ok, value) end, id, ...)
  if not cancel then return nil, err end
  local ok, value = yield(BLOCK)
  if ok then return value, nil end
  return nil, value
end

local future_methods = {}
local future_mt = S.own_type("future", { __index = future_methods, __tostring = function() return "future" end })

local function async(executor, id, ...)
  local slot = S.current
  local future = setmetatable({ responses = S.new_channel(slot, 1, true), state = "pending" }, future_mt)
  local cancel, err = start("funcs.async", executor, function(ok, value)
    if future.state ~= "pending" then return end
    future.state, future.ok, future.value = "complete", ok, value
    if ok then value = S.new_payload(value) end
    S.feed(future.responses, value)
  end, id, ...)
  if not cancel then return nil, err end
  future.stop = cancel
  return future, nil
end

function future_methods.response(future) return future.responses end
future_methods.channel = future_methods.response
function future_methods.is_complete(future) return future.state ~= "pending" end
function future_methods.is_canceled(future) return future.state == "canceled" end
function future_methods.result(future)
  if future.state == "pending" then return nil, nil end
  if future.state == "canceled" then return nil, S.new_error("Canceled", "canceled") end
  if future.ok then return S.new_payload(future.value), nil end
  return nil, future.value
end
function future_methods.error(future)
  if future.state == "canceled" then return S.new_error("Canceled", "canceled"), true end
  if future.state == "complete" and not future.ok then return future.value, true end
  return nil, false
end
function future_methods.cancel(future)
  if future.state ~= "pending" then return false end
  future.state = "canceled"
  future.stop()
  S.feed(future.responses, S.new_error("Canceled", "canceled"))
  return true
end

local executor_methods = {}
local executor_mt = S.own_type("executor", { __index = executor_methods })

local function extended(executor, key, value)
  local copy = {}
  for k, v in pairs(executor) do copy[k] = v end
  if key then copy[key] = S.merge(executor[key], value) end
  return setmetatable(copy, executor_mt)
end
function executor_methods.with_context(executor, context)
  if type(context) ~= "table" then return nil, S.bad_argument("with_context", "context", "a table", context) end
  return extended(executor, "context", S.copy(context))
end
function executor_methods.with_options(executor, options)
  if type(options) ~= "table" then return nil, S.bad_argument("with_options", "options", "a table", options) end
  return extended(executor, "options", S.copy(options))
end
-- Accepted for compatibility: there is no security context to carry yet.
function executor_methods.with_actor(executor) return extended(executor) end
function executor_methods.with_scope(executor) return extended(executor) end
executor_methods.call = call
executor_methods.async = async

S.modules.funcs = {
  call = function(id, ...) return call(nil, id, ...) end,
  async = function(id, ...) return async(nil, id, ...) end,
  new = function() return setmetatable({}, executor_mt) end,
}

S.modules.ctx = {
  get = function(key)
    if type(key) ~= "string" or key == "" then return nil, S.bad_argument("ctx.get", "key", "a text", key) end
    local context = S.current.context
    local value = context and context[key]
    if value == nil then
      return nil, S.new_error("NotFound", 'ctx.get: there is no "' .. key .. '" in the context')
    end
    return S.copy(value), nil
  end,
  all = function() return S.copy(S.current.context or {}), nil end,
}
