-- Channels and select, as in Go. A channel belongs to one slot and never leaves it.
--
-- A waiter is a task (a thread) that waits in a plain send or receive, or a select record shared by
-- the queues of all its cases and dropped from them lazily once it is done. Receivers and senders never
-- wait on the same channel at the same time. Channels marked EXTERNAL are fed by the runtime, so a wait
-- on one never counts as deadlock.
local S = ...
local yield, setmetatable, getmetatable, type = coroutine.yield, setmetatable, debug.getmetatable, type
local math_type, rawget, ipairs = math.type, rawget, ipairs
local BLOCK = S.BLOCK

-- Slots of a channel; integer keys keep it small and quick.
local CAPACITY <const>, HEAD <const>, TAIL <const> = 1, 2, 3
local RECEIVERS <const>, SENDERS <const>, CLOSED <const>, EXTERNAL <const> = 4, 5, 6, 7
local BUFFER <const>, OWNER <const> = 8, 9

local methods = {}
local channel_mt = S.own_type("channel", { __index = methods, __tostring = function() return "channel" end })

local function new(owner, capacity, external)
  return setmetatable({ capacity, 1, 0, false, false, false, external, false, owner }, channel_mt)
end
S.new_channel = new

-- Queue of waiters: false, or {first, last, [index] = waiter}.
local function enqueue(ch, side, waiter, value)
  local queue = ch[side]
  if not queue then
    queue = { first = 1, last = 0 }
    ch[side] = queue
  end
  local at = queue.last + 1
  queue.last = at
  queue[at] = waiter
  if side == SENDERS then
    queue.values = queue.values or {}
    queue.values[at] = value
  end
end

-- Next waiter that still waits, and the value it sends.
local function dequeue(ch, side)
  local queue = ch[side]
  while queue and queue.first <= queue.last do
    local at = queue.first
    local waiter, value = queue[at], nil
    queue[at] = nil
    queue.first = at + 1
    if queue.values then
      value = queue.values[at]
      queue.values[at] = nil
    end
    if queue.first > queue.last then ch[side] = false end
    if type(waiter) == "thread" or not waiter.done then return waiter, value end
  end
  return nil
end

-- Let a waiter go on: a plain one with (a, b), a select with the result of its case.
local function release(ch, waiter, a, b)
  local slot = ch[OWNER]
  if type(waiter) == "thread" then
    if not ch[EXTERNAL] then slot.blocked = slot.blocked - 1 end
    S.wake(slot, waiter, a, b)
  else
    waiter.done = true
    if waiter.counted then slot.blocked = slot.blocked - 1 end
    S.wake(slot, waiter.task, { channel = ch, value = a, ok = b })
  end
end

-- Without waiting: true when the value was taken. Raises on a closed channel.
local function try_send(ch, value)
  if ch[CLOSED] then return S.raise("Invalid", "send on a closed channel") end
  local waiter = dequeue(ch, RECEIVERS)
  if waiter then
    release(ch, waiter, value, true)
    return true
  end
  local tail = ch[TAIL] + 1
  if tail - ch[HEAD] >= ch[CAPACITY] then return false end
  local buffer = ch[BUFFER]
  if not buffer then
    buffer = {}
    ch[BUFFER] = buffer
  end
  buffer[tail] = value
  ch[TAIL] = tail
  return true
end

-- Without waiting: (true, value, ok), or false when nothing is there yet.
local function try_receive(ch)
  local head = ch[HEAD]
  if head <= ch[TAIL] then
    local buffer = ch[BUFFER]
    local value = buffer[head]
    buffer[head] = nil
    if head == ch[TAIL] and not ch[SENDERS] then
      ch[HEAD], ch[TAIL] = 1, 0
    else
      ch[HEAD] = head + 1
      local sender, sent = dequeue(ch, SENDERS)
      if sender then
        local tail = ch[TAIL] + 1
        buffer[tail] = sent
        ch[TAIL] = tail
        release(ch, sender, type(sender) == "thread" and true or nil, true)
      end
    end
    return true, value, true
  end
  local sender, sent = dequeue(ch, SENDERS)
  if sender then
    release(ch, sender, type(sender) == "thread" and true or nil, true)
    return true, sent, true
  end
  if ch[CLOSED] then return true, nil, false end
  return false
end

-- The runtime puts a value in; never waits, never raises.
function S.feed(ch, value)
  if ch[CLOSED] then return false end
  local waiter = dequeue(ch, RECEIVERS)
  if waiter then
    release(ch, waiter, value, true)
  else
    local tail = ch[TAIL] + 1
    local buffer = ch[BUFFER]
    if not buffer then
      buffer = {}
      ch[BUFFER] = buffer
    end
    buffer[tail] = value
    ch[TAIL] = tail
  end
  return true
end

-- Like feed, but dropped when a value waits already.
function S.feed_latest(ch, value)
  if ch[HEAD] > ch[TAIL] then S.feed(ch, value) end
end

-- How many values wait.
function S.waiting(ch) return ch[TAIL] - ch[HEAD] + 1 end

-- What waits in a channel, taken out in order; for the runtime.
function S.drain(ch)
  local all, count = {}, 0
  while ch[HEAD] <= ch[TAIL] do
    local _, value = try_receive(ch)
    count = count + 1
    all[count] = value
  end
  return all, count
end

local function check(ch)
  if getmetatable(ch) ~= channel_mt then
    return S.raise("Invalid", "not a channel: call channel methods with a colon, ch:receive()")
  end
end

local function wait(ch)
  if ch[EXTERNAL] then return yield(BLOCK) end
  return S.block_on_own()
end

function methods.send(ch, value)
  check(ch)
  if try_send(ch, value) then return true end
  enqueue(ch, SENDERS, S.co, value)
  local sent = wait(ch)
  if not sent then return S.raise("Invalid", "send on a closed channel") end
  return true
end

function methods.receive(ch)
  if getmetatable(ch) ~= channel_mt then check(ch) end
  local there, value, ok = try_receive(ch)
  if there then return value, ok end
  enqueue(ch, RECEIVERS, S.co)
  return wait(ch)
end

function methods.close(ch)
  check(ch)
  if ch[CLOSED] then return end
  ch[CLOSED] = true
  local waiter = dequeue(ch, RECEIVERS)
  while waiter do
    release(ch, waiter, nil, false)
    waiter = dequeue(ch, RECEIVERS)
  end
  waiter = dequeue(ch, SENDERS)
  while waiter do
    release(ch, waiter, false, false)
    waiter = dequeue(ch, SENDERS)
  end
end
S.close_channel = methods.close

local case_mt = S.own_type("case", {})

function methods.case_send(ch, value)
  check(ch)
  return setmetatable({ ch = ch, send = true, value = value }, case_mt)
end

function methods.case_receive(ch)
  check(ch)
  return setmetatable({ ch = ch }, case_mt)
end

-- A select that is over leaves its record in the queues of the other cases; a loop of selects over a
-- quiet channel would let them pile up, so they are taken out from the end where they were put.
local function forget(cases)
  for _, case in ipairs(cases) do
    local ch = case.ch
    local side = case.send and SENDERS or RECEIVERS
    local queue = ch[side]
    while queue and queue.last >= queue.first do
      local waiter = queue[queue.last]
      if type(waiter) == "thread" or not waiter.done then break end
      queue[queue.last] = nil
      if queue.values then queue.values[queue.last] = nil end
      queue.last = queue.last - 1
    end
    if queue and queue.first > queue.last then ch[side] = false end
  end
end

local module = {}

function module.new(size)
  if size == nil then size = 0 end
  if math_type(size) ~= "integer" or size < 0 then
    return S.raise("Invalid", "channel.new: size must be an integer of 0 or more, got " .. S.show(size))
  end
  return new(S.current, size, false)
end

function module.select(cases)
  if type(cases) ~= "table" then
    return S.raise("Invalid", "channel.select takes a table of cases, got " .. S.show(cases))
  end
  local external = false
  for index, case in ipairs(cases) do
    if getmetatable(case) ~= case_mt then
      return S.raise("Invalid", "channel.select: case " .. index .. " is no case: use ch:case_receive() or ch:case_send(v)")
    end
  end
  for _, case in ipairs(cases) do
    local ch = case.ch
    external = external or ch[EXTERNAL]
    if case.send then
      if try_send(ch, case.value) then return { channel = ch, ok = true } end
    else
      local there, value, ok = try_receive(ch)
      if there then return { channel = ch, value = value, ok = ok } end
    end
  end
  if rawget(cases, "default") then return { default = true, ok = true } end
  local waiter = { task = S.co, done = false, counted = not external }
  for _, case in ipairs(cases) do
    enqueue(case.ch, case.send and SENDERS or RECEIVERS, waiter, case.value)
  end
  local result
  if external then result = yield(BLOCK) else result = S.block_on_own() end
  for _, case in ipairs(cases) do
    if case.send and case.ch == result.channel and result.ok == false then
      return S.raise("Invalid", "send on a closed channel")
    end
  end
  forget(cases)
  return result
end
S.channel_module = module
return module
