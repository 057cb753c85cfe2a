-- Channels, as in Go. A channel belongs to one slot and never leaves it.
--
-- User code holds a handle; the channel itself is under a private key of it, with its fields at integer keys,
-- which keeps it small and quick. Channels marked EXTERNAL are fed by the runtime, so a wait on one never
-- counts as deadlock.
--
-- What waits: a lone task in a plain receive is in TASK. Everything else is an entry {task, value, select} in
-- RECEIVERS or SENDERS, where `select` is the record shared by the entries of one select (see select.lua) or false.
-- The entries of a select that is over elsewhere are passed over; withdraw() keeps them from piling up.
--
-- S.new_channel(slot, capacity, external) -> channel      S.handle_of(channel) -> handle
-- S.channel_of(handle) -> channel; raises for anything else
-- S.feed(channel, value)           the runtime puts a value in; never waits, never raises
-- S.feed_latest(channel, value)    the same, dropped when one waits already
-- S.waiting(channel) -> count      S.drain(channel) -> list, count
-- S.close_channel(channel)
-- For select: S.try_send(channel, value) -> taken    S.try_receive(channel) -> there, value, ok
--     S.enqueue(channel, side, entry)    S.withdraw(channel, side)    S.is_external(channel)
--     S.RECEIVERS, S.SENDERS: sides
local S = ...
local setmetatable, getmetatable = setmetatable, debug.getmetatable
local isyieldable, yield, math_type = coroutine.isyieldable, coroutine.yield, math.type
local BLOCK, cannot_wait, block_on_own, wake = S.BLOCK, S.cannot_wait, S.block_on_own, S.wake

local CAPACITY <const>, HEAD <const>, TAIL <const>, BUFFER <const> = 1, 2, 3, 4
local TASK <const>, RECEIVERS <const>, SENDERS <const>, CLOSED <const> = 5, 6, 7, 8
local EXTERNAL <const>, OWNER <const>, HANDLE <const> = 9, 10, 11
S.RECEIVERS, S.SENDERS = RECEIVERS, SENDERS

local CHANNEL = {} -- the private key
local methods = {}
local channel_mt = S.own_type("channel", { __index = methods, __tostring = function() return "channel" end })

local function new(owner, capacity, external)
  return { capacity, 1, 0, false, false, false, false, false, external, owner, false }
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
  if getmetatable(handle) ~= channel_mt then misuse(handle) end
  return handle[CHANNEL]
end

function S.is_external(ch) return ch[EXTERNAL] end

-- Queues: {first, last, over, [index] = entry}; over counts entries of selects that are over. ----------

local function enqueue(ch, side, entry)
  local queue = ch[side]
  if not queue then
    queue = { first = 1, last = 0, over = 0 }
    ch[side] = queue
  end
  local last = queue.last + 1
  queue.last = last
  queue[last] = entry
end

local function is_over(entry)
  local select = entry[3]
  return select and select.over
end

-- The next entry that still waits, or nil.
local function dequeue(ch, side)
  local queue = ch[side]
  while queue do
    local first = queue.first
    local entry = queue[first]
    queue[first] = nil
    queue.first = first + 1
    if first == queue.last then
      ch[side], queue = false, nil
    end
    if not is_over(entry) then return entry end
    if queue then queue.over = queue.over - 1 end
  end
  return nil
end

-- An entry of the queue is over: drop those at its end, and all of them when they are more than the others.
local function withdraw(ch, side)
  local queue = ch[side]
  if not queue then return end
  queue.over = queue.over + 1
  while queue.last >= queue.first and is_over(queue[queue.last]) do
    queue[queue.last] = nil
    queue.last, queue.over = queue.last - 1, queue.over - 1
  end
  local count = queue.last - queue.first + 1
  if count == 0 then
    ch[side] = false
  elseif 2 * queue.over > count then
    local kept = { first = 1, last = 0, over = 0 }
    ch[side] = kept
    for i = queue.first, queue.last do
      if not is_over(queue[i]) then enqueue(ch, side, queue[i]) end
    end
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
  local task = ch[TASK]
  if task then
    ch[TASK] = false
    local slot = ch[OWNER]
    if not ch[EXTERNAL] then slot.blocked = slot.blocked - 1 end
    wake(slot, task, value, ok)
    return true
  end
  local entry = ch[RECEIVERS] and dequeue(ch, RECEIVERS)
  if entry then
    release(ch, entry, value, ok)
    return true
  end
  return false
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

local function closed()
  return S.raise("Invalid", "send on a closed channel")
end

local function try_send(ch, value)
  if ch[CLOSED] then closed() end
  if hand_over(ch, value, true) then return true end
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
    local sender = ch[SENDERS] and dequeue(ch, SENDERS)
    if sender then
      put(ch, sender[2])
      release(ch, sender, nil, true)
    end
    return true, value, true
  end
  local sender = ch[SENDERS] and dequeue(ch, SENDERS)
  if sender then
    release(ch, sender, nil, true)
    return true, sender[2], true
  end
  if ch[CLOSED] then return true, nil, false end
  return false
end
S.try_receive = try_receive

S.enqueue = function(ch, side, entry)
  local task = side == RECEIVERS and ch[TASK]
  if task then
    ch[TASK] = false
    enqueue(ch, RECEIVERS, { task, nil, false })
  end
  enqueue(ch, side, entry)
end
S.withdraw = withdraw

function S.feed(ch, value)
  if not (ch[CLOSED] or hand_over(ch, value, true)) then put(ch, value) end
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
  if ch[CLOSED] then return end
  ch[CLOSED] = true
  while hand_over(ch, nil, false) do end
  local sender = dequeue(ch, SENDERS)
  while sender do
    release(ch, sender, nil, false)
    sender = dequeue(ch, SENDERS)
  end
end

-- Methods -----------------------------------------------------------------------------------------

-- The waits are no tail calls: a deadlock names what it finds on the stack.

function methods.send(handle, value)
  if getmetatable(handle) ~= channel_mt then misuse(handle) end
  local ch = handle[CHANNEL]
  if try_send(ch, value) then return true end
  if S.stuck or not isyieldable() then cannot_wait() end
  enqueue(ch, SENDERS, { S.co, value, false })
  local wait = ch[EXTERNAL] and S.block or block_on_own
  local _, sent = wait()
  if not sent then closed() end
  return true
end

function methods.receive(handle)
  if getmetatable(handle) ~= channel_mt then misuse(handle) end
  local ch = handle[CHANNEL]
  local there, value, ok = try_receive(ch)
  if there then return value, ok end
  if S.stuck or not isyieldable() then cannot_wait() end
  if ch[TASK] or ch[RECEIVERS] then
    S.enqueue(ch, RECEIVERS, { S.co, nil, false })
  else
    ch[TASK] = S.co
  end
  if ch[EXTERNAL] then return yield(BLOCK) end
  value, ok = block_on_own()
  return value, ok
end

function methods.close(handle)
  if getmetatable(handle) ~= channel_mt then misuse(handle) end
  S.close_channel(handle[CHANNEL])
end

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
