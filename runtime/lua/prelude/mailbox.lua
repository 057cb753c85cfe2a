-- Messages, the inbox, topic listeners and events of a slot.
--
-- A message goes to the listener of its topic, else to the inbox, and waits there. Messages of a topic that
-- came before its listener are handed to it when it is made, so that a send right after a spawn cannot
-- miss a listener which the new process is about to make.
local S = ...
local setmetatable, getmetatable, type, rawget = setmetatable, debug.getmetatable, type, rawget
local pairs = pairs
local huge, sub = math.huge, string.sub

local TOPIC, FROM, VALUES, COUNT = {}, {}, {}, {}

local payload_methods = {}
local payload_mt = S.own_type("payload", {
  __index = payload_methods,
  __tostring = function() return "payload" end,
  __data = function(payload) return rawget(payload, VALUES) end,
})
local function new_payload(value) return setmetatable({ [VALUES] = value }, payload_mt) end
S.new_payload = new_payload
function payload_methods.data(payload) return rawget(payload, VALUES) end
function payload_methods.get_format() return "lua/any" end

local message_methods = {}
local message_mt = S.own_type("message", {
  __tostring = function(message) return "message " .. rawget(message, TOPIC) end,
  __data = function(message)
    local count = rawget(message, COUNT)
    local values = rawget(message, VALUES)
    if count <= 1 then return values[1] end
    local list = {}
    for i = 1, count do list[i] = values[i] end
    return list
  end,
  __index = function(message, key)
    local method = message_methods[key]
    if method then return method end
    if rawget(message, COUNT) == 1 then
      local value = rawget(message, VALUES)[1]
      if type(value) == "table" and not S.own_name(value) then return value[key] end
    end
    return nil
  end,
})

function message_methods.topic(message) return rawget(message, TOPIC) end
function message_methods.from(message) return rawget(message, FROM) end
function message_methods.payload(message)
  local count, values = rawget(message, COUNT), rawget(message, VALUES)
  if count == 0 then return nil end
  if count == 1 then return new_payload(values[1]) end
  local list = {}
  for i = 1, count do list[i] = new_payload(values[i]) end
  return list
end

-- Deliver a message; values is a list of `count` values that the receiver may keep.
function S.deliver(slot, topic, from, values, count)
  local listener = slot.listeners and slot.listeners[topic]
  if listener then
    if listener.raw then
      return S.feed(listener.channel, count > 1 and values or values[1])
    end
    return S.feed(
      listener.channel,
      setmetatable({ [TOPIC] = topic, [FROM] = from, [VALUES] = values, [COUNT] = count }, message_mt)
    )
  end
  local inbox = slot.inbox
  if not inbox then
    inbox = S.new_channel(slot, huge, true)
    slot.inbox = inbox
  end
  return S.feed(
    inbox,
    setmetatable({ [TOPIC] = topic, [FROM] = from, [VALUES] = values, [COUNT] = count }, message_mt)
  )
end

-- An event: a table with kind, from and what the kind has; `at` is in ns and becomes a Time.
function S.deliver_event(slot, event)
  local events = slot.events
  if not events then
    events = S.new_channel(slot, huge, true)
    slot.events = events
  end
  if type(event.at) == "number" then event.at = S.new_time(event.at) end
  S.feed(events, event)
end

local process = S.process

function process.inbox()
  local slot = S.current
  local inbox = slot.inbox
  if not inbox then
    inbox = S.new_channel(slot, huge, true)
    slot.inbox = inbox
  end
  return inbox
end

function process.events()
  local slot = S.current
  local events = slot.events
  if not events then
    events = S.new_channel(slot, huge, true)
    slot.events = events
  end
  return events
end

function process.listen(topic, options)
  if type(topic) ~= "string" or topic == "" then
    return nil, S.bad_argument("process.listen", "topic", "a text", topic)
  end
  if sub(topic, 1, 1) == "@" then
    return nil, S.new_error("Invalid", 'process.listen: topic "' .. topic .. '" starts with @, which is reserved')
  end
  local slot = S.current
  local listeners = slot.listeners
  if not listeners then
    listeners = {}
    slot.listeners = listeners
  end
  local listener = listeners[topic]
  if not listener then
    local raw = not (type(options) == "table" and options.message)
    listener = { channel = S.new_channel(slot, huge, true), raw = raw, topic = topic }
    listeners[topic] = listener
    if slot.inbox then
      local waiting, count = S.drain(slot.inbox)
      for i = 1, count do
        local message = waiting[i]
        if rawget(message, TOPIC) == topic then
          S.deliver(slot, topic, rawget(message, FROM), rawget(message, VALUES), rawget(message, COUNT))
        else
          S.feed(slot.inbox, message)
        end
      end
    end
  end
  return listener.channel
end

function process.unlisten(ch)
  local slot = S.current
  for topic, listener in pairs(slot.listeners or {}) do
    if listener.channel == ch then
      slot.listeners[topic] = nil
      S.close_channel(ch)
      return true
    end
  end
  return nil, S.new_error("Invalid", "process.unlisten: the argument is no channel of process.listen")
end

function S.is_payload(value) return getmetatable(value) == payload_mt end
