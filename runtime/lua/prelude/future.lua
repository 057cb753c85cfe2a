-- Futures: what funcs.async returns. The channel of one gives what the call ended with, once, and is closed then.
--
-- A failure that nobody has looked at when its slot ends goes to the log; of a slot with very many of them, the oldest
-- ones before that.
--
-- S.log_unread(slot)     of a slot that ends
local S = ...
local setmetatable = setmetatable

local CLOSING <const> = 2 -- the version of the machine since which it is closed, in runs that began on it
local UNREAD <const> = 64 -- failures of a slot that may wait for somebody to look at them
local STATE = {} -- the private key of {slot, id, channel, stays_open, status, value, ok, cancel, patient, asked, seen}
local methods = {}
local future_mt = S.own_type("future", { __index = methods, __tostring = function() return "future" end })

local function canceled() return S.new_error("Canceled", "canceled") end

local function log_unread(slot, state)
  if state.seen or S.waiting(state.channel) == 0 or slot.replaying then return end
  local message = "a call of " .. state.id .. " failed, and nobody looked at its future: " .. S.tostring(state.value)
  S.emit_log(slot.pid or S.new_pid(), S.entry_of(slot), "error", message)
end

function S.log_unread(slot)
  local unread = slot.unread
  for i = unread.first, unread.last do log_unread(slot, unread[i]) end
end

local function keep_failure(slot, state)
  local unread = slot.unread
  if not unread then
    unread = { first = 1, last = 0 }
    slot.unread = unread
  end
  unread.last = unread.last + 1
  unread[unread.last] = state
  if unread.last - unread.first < UNREAD then return end
  log_unread(slot, unread[unread.first])
  unread[unread.first] = nil
  unread.first = unread.first + 1
end

local function settle(state, status, ok, value)
  if state.status then return end
  state.status, state.ok, state.value = status, ok, value
  S.feed(state.channel, ok and S.new_payload(value) or value)
  if not state.stays_open then S.close_channel(state.channel) end
  if status ~= "canceled" and not ok then keep_failure(state.slot, state) end
end

-- Whether a cancelled call of a workflow is over only when its function is.
local function is_patient(slot, executor)
  local options = slot.durable and executor and executor.options
  if not options then return false end
  return options["activity.wait_for_cancellation"] or options["temporal.activity.wait_for_cancellation"] or false
end

function S.async(executor, id, ...)
  local slot = S.current
  local state = {
    slot = slot, id = id, channel = S.new_channel(slot, 1, true), patient = is_patient(slot, executor),
    stays_open = slot.durable and (slot.machine or CLOSING) < CLOSING,
  }
  local function done(ok, value)
    local was_canceled = state.asked and not ok and value:kind() == "Canceled"
    settle(state, was_canceled and "canceled" or "complete", ok, value)
  end
  local cancel, err = S.start_call("funcs.async", executor, done, id, ...)
  if not cancel then return nil, err end
  state.cancel = cancel
  local future = setmetatable({ [STATE] = state }, future_mt)
  if slot.durable then S.number_object(slot, future) end
  return future, nil
end

local function state_of(future)
  if S.own_name(future) ~= "future" then
    S.raise("Invalid", "not a future: " .. S.show(future) .. "; call its methods with a colon, as in future:result()")
  end
  return future[STATE]
end

function methods.response(future) return S.handle_of(state_of(future).channel) end
methods.channel = methods.response

function methods.is_complete(future) return state_of(future).status ~= nil end
function methods.is_canceled(future) return state_of(future).status == "canceled" end

function methods.result(future)
  local state = state_of(future)
  if not state.status then return nil, nil end
  state.seen = true
  if state.ok then return S.new_payload(state.value), nil end
  return nil, state.value
end

function methods.error(future)
  local state = state_of(future)
  if state.status and not state.ok then
    state.seen = true
    return state.value, true
  end
  return nil, false
end

-- True when it was still running.
function methods.cancel(future)
  local state = state_of(future)
  if state.status or state.asked then return false end
  state.asked = true
  if not state.patient then settle(state, "canceled", false, canceled()) end
  state.cancel()
  return true
end
