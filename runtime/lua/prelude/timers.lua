-- The part of the module `time` that waits: sleep, after, timer, ticker. Each is a timer command whose
-- answer comes when it is due.
local S = ...
local setmetatable = setmetatable
local time = S.time

-- Nanoseconds of a duration argument, at least 0; or nil, err.
local function ns_of(where, value)
  local ns, err = S.to_ns(value)
  if not ns then return nil, S.error_in(where, err) end
  return ns > 0 and ns or 0
end

-- Start a timer that calls `fire` in the slot; returns its number.
local function start(slot, ns, fire)
  local seq = S.next_seq(slot)
  S.expect(slot, fire, seq)
  S.emit_timer(S.pid_of(slot), seq, ns)
  return seq
end

local function stop(slot, seq)
  local pending = slot.pending
  if not (pending and pending[seq]) then return false end
  pending[seq] = nil
  S.emit_cancel_timer(slot.pid, seq)
  return true
end

function time.sleep(duration)
  local ns, err = ns_of("time.sleep", duration)
  if not ns then return nil, err end
  local slot = S.current
  local seq = S.next_seq(slot)
  S.emit_timer(S.pid_of(slot), seq, ns)
  S.await(seq)
  return true
end

function time.after(duration)
  local ns, err = ns_of("time.after", duration)
  if not ns then return nil, err end
  local slot = S.current
  local channel = S.new_channel(slot, 1, true)
  start(slot, ns, function() S.feed(channel, S.new_time(S.now_of(slot))) end)
  return S.handle_of(channel)
end

-- Timers and tickers: {slot, channel, seq, …} under a private key. ---------------------------------------

local STATE = {}
local timer_methods, ticker_methods = {}, {}
local timer_mt = S.own_type("timer", { __index = timer_methods })
local ticker_mt = S.own_type("ticker", { __index = ticker_methods })

local function new(mt, state)
  local object = setmetatable({ [STATE] = state }, mt)
  if state.slot.durable then S.number_object(state.slot, object) end
  return object
end

local function state_of(object, name)
  if S.own_name(object) ~= name then
    S.raise("Invalid", "not a " .. name .. ": " .. S.show(object) .. "; call its methods with a colon")
  end
  return object[STATE]
end

local function arm(timer, ns)
  timer.seq = start(timer.slot, ns, function()
    timer.seq = nil
    S.feed(timer.channel, S.new_time(S.now_of(timer.slot)))
  end)
end

local function disarm(state)
  local seq = state.seq
  state.seq = nil
  return seq ~= nil and stop(state.slot, seq)
end

function time.timer(duration)
  local ns, err = ns_of("time.timer", duration)
  if not ns then return nil, err end
  local slot = S.current
  local timer = { slot = slot, channel = S.new_channel(slot, 1, true) }
  arm(timer, ns)
  return new(timer_mt, timer)
end

function timer_methods.channel(object) return S.handle_of(state_of(object, "timer").channel) end
timer_methods.response = timer_methods.channel

-- True when it had not fired yet.
function timer_methods.stop(object) return disarm(state_of(object, "timer")) end

function timer_methods.reset(object, duration)
  local timer = state_of(object, "timer")
  local ns, err = ns_of("timer:reset", duration)
  if not ns then return nil, err end
  local active = disarm(timer)
  arm(timer, ns)
  return active
end

-- Like Go's, a ticker drops ticks for a slow receiver, and keeps its beat.
local function beat(ticker)
  local now = S.now_of(ticker.slot)
  ticker.due = ticker.due + ticker.period
  if ticker.due < now then ticker.due = now end
  ticker.seq = start(ticker.slot, ticker.due - now, function()
    S.feed_latest(ticker.channel, S.new_time(S.now_of(ticker.slot)))
    beat(ticker)
  end)
end

function time.ticker(duration)
  local ns, err = ns_of("time.ticker", duration)
  if not ns then return nil, err end
  if ns == 0 then return nil, S.bad_argument("time.ticker", "duration", "more than zero", duration) end
  local slot = S.current
  local ticker = { slot = slot, period = ns, channel = S.new_channel(slot, 1, true), due = S.now_of(slot) }
  beat(ticker)
  return new(ticker_mt, ticker)
end

function ticker_methods.channel(object) return S.handle_of(state_of(object, "ticker").channel) end
ticker_methods.response = ticker_methods.channel

function ticker_methods.stop(object) return disarm(state_of(object, "ticker")) end
