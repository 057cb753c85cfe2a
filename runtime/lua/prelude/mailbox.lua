-- The inbox of a slot, its topic listeners and its events.
--
-- A message goes to the listener of its topic, else to the inbox, and waits there. Messages of a topic that
-- came before its listener are handed to it when it is made, so that a send right after a spawn cannot
-- miss a listener which the new process is about to make.
--
-- At most S.inbox_size messages wait in the inbox and at each listener (false: no limit). S.inbox_policy says what
-- becomes of one more, and S.dropped counts them.
--
-- S.deliver(slot, topic, from, count, value, is_table) -> taken   as for S.new_message
-- S.inbox_full(pid) -> the error for the sender of one that was not taken
-- S.deliver_event(slot, event)    a table with kind, from, and `at` in ns, which becomes a Time
local S = ...
local next, type = next, type
local huge, sub = math.huge, string.sub
local new_channel, handle_of, channel_of, feed = S.new_channel, S.handle_of, S.channel_of, S.feed
local new_message = S.new_message
local process = S.process

local HAND_OVER_COST <const> = 100 -- instructions a message

S.dropped = 0
local SIZE <const>, POLICY <const> = S.inbox_size, S.inbox_policy

-- serial: see unread.lua
local function deliver(slot, topic, from, count, value, is_table, serial)
  local listeners = slot.listeners
  local listener = listeners and listeners[topic]
  if listener then
    if listener.raw then
      feed(listener.channel, value)
    else
      feed(listener.channel, new_message(topic, from, count, value, is_table))
    end
    if slot.durable then S.note_arrival(slot, listener.channel, from, count, serial) end
    return true
  end
  local inbox = slot.inbox
  if not inbox then
    inbox = new_channel(slot, huge, true)
    slot.inbox = inbox
  end
  feed(inbox, new_message(topic, from, count, value, is_table))
  if slot.durable then S.note_arrival(slot, inbox, from, count, serial) end
  return true
end

local function deliver_within_limit(slot, topic, ...)
  local listener = slot.listeners and slot.listeners[topic]
  local channel = listener and listener.channel or not listener and slot.inbox
  if channel and S.waiting(channel) >= SIZE then
    S.dropped = S.dropped + 1
    if POLICY ~= "drop_oldest" then return POLICY == "drop_newest" end
    S.try_receive(channel)
  end
  return deliver(slot, topic, ...)
end

S.deliver = SIZE and deliver_within_limit or deliver

function S.inbox_full(pid)
  local text = "the inbox of " .. pid .. " is full: " .. SIZE .. " messages wait (limits.inbox.size of its host)"
  return S.new_error("RateLimited", text, true)
end

local function events_of(slot)
  local events = slot.events
  if not events then
    events = new_channel(slot, huge, true)
    slot.events = events
  end
  return events
end

function S.deliver_event(slot, event)
  if type(event.at) == "number" then event.at = S.new_time(event.at) end
  feed(events_of(slot), event)
end

function process.inbox()
  local slot = S.current
  local inbox = slot.inbox
  if not inbox then
    inbox = new_channel(slot, huge, true)
    slot.inbox = inbox
  end
  return handle_of(inbox)
end

function process.events()
  local slot = S.current
  slot.listens = true
  return handle_of(events_of(slot))
end

-- Why a topic cannot be one, or nil.
function S.check_topic(where, topic)
  if not S.is_text(topic) then return S.bad_argument(where, "topic", "a text", topic) end
  if sub(topic, 1, 1) == "@" then
    return S.new_error("Invalid", where .. ': topic "' .. topic .. '" starts with @, which is reserved')
  end
end

local function hand_over_unread(slot)
  local unread = S.take_unread(slot, slot.inbox)
  for i = 1, #unread do
    local own, from, payloads, value, is_table = S.message_parts(unread[i][1])
    S.deliver(slot, own, from, payloads, value, is_table, unread[i][2])
  end
end

local function hand_over_waiting(slot, topic)
  if slot.durable then return hand_over_unread(slot) end
  local waiting, count = S.drain(slot.inbox)
  S.charge(HAND_OVER_COST * count)
  for i = 1, count do
    local own, from, payloads, value, is_table = S.message_parts(waiting[i])
    if own == topic then
      S.deliver(slot, topic, from, payloads, value, is_table)
    else
      feed(slot.inbox, waiting[i])
    end
  end
end

function process.listen(topic, options)
  local wrong = S.check_topic("process.listen", topic)
  if wrong then return nil, wrong end
  local slot = S.current
  local listeners = slot.listeners
  if not listeners then
    listeners = {}
    slot.listeners = listeners
  end
  local listener = listeners[topic]
  if not listener then
    local raw = not (type(options) == "table" and options.message)
    listener = { channel = new_channel(slot, huge, true), raw = raw }
    listeners[topic] = listener
    if slot.inbox then hand_over_waiting(slot, topic) end
  end
  return handle_of(listener.channel)
end

function process.unlisten(handle)
  local channel = S.own_name(handle) == "channel" and channel_of(handle)
  local slot = S.current
  for topic, listener in next, slot.listeners or {} do
    if listener.channel == channel then
      slot.listeners[topic] = nil
      S.close_channel(channel)
      return true
    end
  end
  return nil, S.new_error("Invalid", "process.unlisten: " .. S.show(handle) .. " is no channel of process.listen")
end
