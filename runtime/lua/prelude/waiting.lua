-- The part of the module `time` that waits: sleep, after, timer, ticker. Each is a timer command whose
-- answer comes when it is due.
local S = ...
local setmetatable = setmetatable
local time = S.modules.time or {}

-- Nanoseconds of a duration argument, or nil, err.
local function ns_of(where, value)
  local ns, err = S.to_ns(value)
  if not ns then return nil, S.error_in(where, err) end
  return ns
end

-- Start a timer that calls `fire` in the slot; returns its number.
local function start(slot, ns, fire)
  local seq = S.next_seq(slot)
  S.expect(slot, seq, fire)
  S.emit_timer(S.pid_of(slot), seq, ns > 0 and ns or 0)
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
  S.emit_timer(S.pid_of(slot), seq, ns > 0 and ns or 0)
  S.await(slot, seq)
  return true
end

function time.after(duration)
  local ns, err = ns_of("time.after", duration)
  if not ns then return nil, err end
  local slot = S.current
  local ch = S.new_channel(slot, 1, true)
  start(slot, ns, function() S.feed(ch, S.new_time(S.now_of(slot))) end)
  return ch
end

local timer_methods = {}
local timer_mt = S.own_type("timer", { __index = timer_methods })

local function arm(timer, ns)
  timer.seq = start(timer.slot, ns, function()
    timer.seq = nil
    S.feed(timer.responses, S.new_time(S.now_of(timer.slot)))
  end)
end

function time.timer(duration)
  local ns, err = ns_of("time.timer", duration)
  if not ns then return nil, err end
  local slot = S.current
  local timer = setmetatable({ slot = slot, responses = S.new_channel(slot, 1, true) }, timer_mt)
  arm(timer, ns)
  return timer
end
function timer_methods.channel(timer) return timer.responses end
timer_methods.response = timer_methods.channel
function timer_methods.stop(timer)
  local seq = timer.seq
  timer.seq = nil
  return seq ~= nil and stop(timer.slot, seq)
end
function timer_methods.reset(timer, duration)
  local ns, err = ns_of("timer:reset", duration)
  if not ns then return nil, err end
  local active = timer_methods.stop(timer)
  arm(timer, ns)
  return active
end

local ticker_methods = {}
local ticker_mt = S.own_type("ticker", { __index = ticker_methods })

-- Like Go's, a ticker drops ticks for a slow receiver, and keeps its beat.
local function beat(ticker)
  ticker.due = ticker.due + ticker.period
  local wait = ticker.due - S.now_of(ticker.slot)
  if wait < 0 then
    ticker.due, wait = ticker.due - wait, 0
  end
  ticker.seq = start(ticker.slot, wait, function()
    S.feed_latest(ticker.responses, S.new_time(S.now_of(ticker.slot)))
    beat(ticker)
  end)
end

function time.ticker(duration)
  local ns, err = ns_of("time.ticker", duration)
  if not ns then return nil, err end
  if ns <= 0 then return nil, S.bad_argument("time.ticker", "duration", "more than zero", duration) end
  local slot = S.current
  local ticker = setmetatable({ slot = slot, period = ns, responses = S.new_channel(slot, 1, true) }, ticker_mt)
  ticker.due = S.now_of(slot)
  beat(ticker)
  return ticker
end
function ticker_methods.channel(ticker) return ticker.responses end
ticker_methods.response = ticker_methods.channel
function ticker_methods.stop(ticker)
  local seq = ticker.seq
  ticker.seq = nil
  return seq ~= nil and stop(ticker.slot, seq)
end
