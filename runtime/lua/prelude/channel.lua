-- Channels, as in Go. A channel belongs to one slot and never leaves it.
--
-- User code holds a handle; the channel itself is under a private key of it, with its fields at integer keys,
-- which keeps it small and quick. Channels marked EXTERNAL are fed by the runtime, so a wait on one never
-- counts as deadlock.
--
-- STATE says what WAITING is:
--   QUIET      nothing waits
--   LONE       a task in a plain receive
--   RECEIVERS  a queue of entries, see waiters.lua     SENDERS  the same
--   CLOSED     nothing can wait
--
-- S.new_channel(slot, capacity, external) -> channel      S.handle_of(channel) -> handle
-- S.channel_of(handle) -> channel; raises for anything else
-- S.feed(channel, value)           the runtime puts a value in; never waits, never raises
-- S.feed_latest(channel, value)    the same, dropped when one waits already
-- S.waiting(channel) -> count      S.drain(channel) -> list, count
-- S.close_channel(channel)
-- For select: S.try_send(channel, value) -> taken    S.try_receive(channel) -> there, value, ok
--     S.enqueue(channel, side, entry)    S.withdraw(channel)    S.is_external(channel)
--     S.RECEIVERS, S.SENDERS: sides
local S = ...
local own = S.own
local setmetatable, getmetatable = setmetatable, debug.getmetatable
local yield, math_type = coroutine.yield, math.type
local BLOCK, wake = S.BLOCK, S.wake
local new_queue, push, pop, drop = S.new_waiters, S.push_waiter, S.pop_waiter, S.drop_waiters

local CAPACITY <const>, HEAD <const>, TAIL <const>, BUFFER <const> = 1, 2, 3, 4
local STATE <const>, WAITING <const> = 5, 6
local EXTERNAL <const>, OWNER <const>, HANDLE <const> = 7, 8, 9
local HAND_OFF_COST <const> = 30 -- instructions
local QUIET <const>, LONE <const>, RECEIVERS <const>, SENDERS <const>, CLOSED <const> = 0, 1, 2, 3, 4
S.RECEIVERS, S.SENDERS = RECEIVERS, SENDERS

local CHANNEL = {} -- the private key
local methods = {}
local channel_mt = S.own_type("channel", { __index = methods, __tostring = function() return "channel" end })

local function new(owner, capacity, external)
  return { capacity, 1, 0, false, QUIET, false, external, owner, false }
end
S.new_channel = new

local function handle_of(ch)
  local handle = ch[HANDLE]
  if not handle then
    handle = setmetatable({ [CHANNEL] = ch }, channel_mt)
    ch[HANDLE] = handle
    local slot = ch[OWNER]
    if slot.durable then S.number_object(slot, handle) end
  end
  return handle
end
S.handle_of = handle_of

local function misuse(value)
  return S.raise("Invalid", "not a channel: " .. S.show(value) .. "; call channel methods with a colon, as in ch:receive()")
end

function S.channel_of(handle)
  if own[getmetatable(handle)] ~= "channel" then misuse(handle) end
  return handle[CHANNEL]
end

function S.is_external(ch) return ch[EXTERNAL] end

-- Waiters -----------------------------------------------------------------------------------------

local function enqueue(ch, side, entry)
  local state = ch[STATE]
  if state == QUIET or state == LONE then
    local queue = new_queue()
    if state == LONE then push(queue, { ch[WAITING], nil, false }) end
    ch[STATE], ch[WAITING] = side, queue
  end
  push(ch[WAITING], entry)
end
S.enqueue = enqueue

-- The next entry that waits at this side, or nil.
local function dequeue(ch, side)
  if ch[STATE] ~= side then return nil end
  local entry, empty = pop(ch[WAITING])
  if empty then ch[STATE], ch[WAITING] = QUIET, false end
  return entry
end

-- An entry of a select is over.
function S.withdraw(ch)
  local state = ch[STATE]
  if (state == RECEIVERS or state == SENDERS) and drop(ch[WAITING]) then
    ch[STATE], ch[WAITING] = QUIET, false
  end
end

-- Let what waits in an entry go on.
local function release(ch, entry, value, ok)
  local slot, select = ch[OWNER], entry[3]
  if select then
    select.over, select.chosen = true, entry
    if select.counted then slot.blocked = slot.blocked - 1 end
  elseif not ch[EXTERNAL] then
    slot.blocked = slot.blocked - 1
  end
  wake(slot, entry[1], value, ok)
end

-- Hand a value to who waits for one; false when nobody does.
local function hand_over(ch, value, ok)
  if ch[STATE] == LONE then
    local slot, task = ch[OWNER], ch[WAITING]
    ch[STATE] = QUIET
    if not ch[EXTERNAL] then slot.blocked = slot.blocked - 1 end
    wake(slot, task, value, ok)
    return true
  end
  local entry = dequeue(ch, RECEIVERS)
  if not entry then return false end
  release(ch, entry, value, ok)
  return true
end

local function put(ch, value)
  local buffer = ch[BUFFER]
  if not buffer then
    buffer = {}
    ch[BUFFER] = buffer
  end
  local tail = ch[TAIL] + 1
  buffer[tail] = value
  ch[TAIL] = tail
end

local function closed() return S.raise("Invalid", "send on a closed channel") end

local function try_send(ch, value)
  if ch[STATE] == CLOSED then closed() end
  if ch[STATE] ~= QUIET and hand_over(ch, value, true) then return true end
  if ch[TAIL] - ch[HEAD] + 1 >= ch[CAPACITY] then return false end
  put(ch, value)
  return true
end
S.try_send = try_send

local function try_receive(ch)
  local head = ch[HEAD]
  if head <= ch[TAIL] then
    local buffer = ch[BUFFER]
    local value = buffer[head]
    buffer[head] = nil
    if head == ch[TAIL] then
      ch[HEAD], ch[TAIL] = 1, 0
    else
      ch[HEAD] = head + 1
    end
    local sender = dequeue(ch, SENDERS)
    if sender then
      put(ch, sender[2])
      release(ch, sender, nil, true)
    end
    return true, value, true
  end
  local sender = dequeue(ch, SENDERS)
  if sender then
    release(ch, sender, nil, true)
    return true, sender[2], true
  end
  if ch[STATE] == CLOSED then return true, nil, false end
  return false
end
S.try_receive = try_receive

-- Only for EXTERNAL channels.
function S.feed(ch, value)
  local state = ch[STATE]
  if state == LONE then
    ch[STATE] = QUIET
    return wake(ch[OWNER], ch[WAITING], value, true)
  elseif state == QUIET or state ~= CLOSED and not hand_over(ch, value, true) then
    put(ch, value)
  end
end

function S.feed_latest(ch, value)
  if ch[HEAD] > ch[TAIL] then S.feed(ch, value) end
end

function S.waiting(ch) return ch[TAIL] - ch[HEAD] + 1 end

function S.drain(ch)
  local all, count = {}, 0
  while ch[HEAD] <= ch[TAIL] do
    local _, value = try_receive(ch)
    count = count + 1
    all[count] = value
  end
  return all, count
end

function S.close_channel(ch)
  if ch[STATE] == CLOSED then return end
  while hand_over(ch, nil, false) do end
  local sender = dequeue(ch, SENDERS)
  while sender do
    release(ch, sender, nil, false)
    sender = dequeue(ch, SENDERS)
  end
  ch[STATE] = CLOSED
end

-- Methods -----------------------------------------------------------------------------------------

local function wait_to_receive(slot, task, ch)
  if ch[STATE] == QUIET then
    ch[STATE], ch[WAITING] = LONE, task
  else
    enqueue(ch, RECEIVERS, { task, nil, false })
  end
  if not ch[EXTERNAL] then S.count_blocked(slot) end
end

local function wait_to_send(slot, task, ch, value)
  enqueue(ch, SENDERS, { task, value, false })
  if not ch[EXTERNAL] then S.count_blocked(slot) end
end

local left = 0 -- the counter of fuel.lua

function methods.receive(handle)
  left = left - HAND_OFF_COST
  if own[getmetatable(handle)] ~= "channel" then misuse(handle) end
  local ch = handle[CHANNEL]
  if ch[STATE] ~= QUIET or ch[HEAD] <= ch[TAIL] then
    local there, value, ok = try_receive(ch)
    if there then return value, ok end
  end
  if ch[EXTERNAL] then return yield(BLOCK, wait_to_receive, ch) end
  local value, ok = yield(BLOCK, wait_to_receive, ch)
  return value, ok
end

function methods.send(handle, value)
  left = left - HAND_OFF_COST
  if own[getmetatable(handle)] ~= "channel" then misuse(handle) end
  local ch = handle[CHANNEL]
  if try_send(ch, value) then return true end
  local _, sent = yield(BLOCK, wait_to_send, ch, value)
  if not sent then closed() end
  return true
end

function methods.close(handle)
  if own[getmetatable(handle)] ~= "channel" then misuse(handle) end
  S.close_channel(handle[CHANNEL])
end

S.share(methods.receive, "left")
S.share(methods.send, "left")

-- Waits for own tasks are no tail calls, so that these are found on the stack.
S.waits[methods.send] = "waits to send on a channel"
S.waits[methods.receive] = "waits to receive from a channel"

S.channel_methods = methods
S.modules.channel = {
  new = function(size)
    if size == nil then size = 0 end
    if math_type(size) ~= "integer" or size < 0 then
      return S.raise("Invalid", "channel.new: size must be an integer of 0 or more, got " .. S.show(size))
    end
    return handle_of(new(S.current, size, false))
  end,
}
