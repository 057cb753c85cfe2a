-- What a workflow has not read: when each message that waits in one of its channels came, and from whom. A listener
-- gives plain values, which do not tell; who goes on as new hands on whole messages, in their order.
--
-- S.note_arrival(slot, channel, from, count, serial)    after a message of `count` payloads was fed to a channel;
--     serial: of one that is fed again, nil for a new one
-- S.take_unread(slot, channel) -> list of {value, serial, from, count}     takes all that waits out of it
-- S.unread_of(slot, after) -> list of {topic, args, from}     of all its channels, in the order in which they came;
--     those with serials above `after`, which is 0 for all, or slot.began for all that came since its start
-- S.add_unread_events(slot, list, kind)     adds its events, or those of that kind, as messages that nobody can send
-- S.deliver_carried(slot, topic, from, args)     to who goes on: one of those, or a plain message
local S = ...
local next, ipairs, sort, unpack = next, ipairs, table.sort, table.unpack
local waiting, drain = S.waiting, S.drain

function S.note_arrival(slot, channel, from, count, serial)
  local arrivals = slot.arrivals
  if not arrivals then
    arrivals = { serial = 0 }
    slot.arrivals = arrivals
  end
  if not serial then
    serial = arrivals.serial + 1
    arrivals.serial = serial
  end
  local held = waiting(channel)
  if held == 0 then
    arrivals[channel] = nil
    return
  end
  local log = arrivals[channel]
  if not log then
    log = { first = 1, last = 0 }
    arrivals[channel] = log
  end
  log.last = log.last + 1
  log[log.last] = { serial, from, count }
  while log.last - log.first + 1 > held do
    log[log.first] = nil
    log.first = log.first + 1
  end
end

function S.take_unread(slot, channel)
  local values, count = drain(channel)
  local log = slot.arrivals and slot.arrivals[channel]
  local unread = {}
  for i = 1, count do
    local entry = log[log.last - count + i]
    unread[i] = { values[i], entry[1], entry[2], entry[3] }
  end
  if log then slot.arrivals[channel] = nil end
  return unread
end

local function encoded(count, value)
  if count == 0 then return S.pack_args() end
  if count == 1 then return S.pack_args(value) end
  return S.pack_args(unpack(value, 1, count))
end

function S.unread_of(slot, after)
  local all = {}
  local function add(topic, value, entry)
    if entry[2] <= after then return end
    all[#all + 1] = { topic, encoded(entry[4], value), entry[3], serial = entry[2] }
  end
  for _, entry in ipairs(slot.inbox and S.take_unread(slot, slot.inbox) or {}) do
    local topic, _, _, value = S.message_parts(entry[1])
    add(topic, value, entry)
  end
  for topic, listener in next, slot.listeners or {} do
    for _, entry in ipairs(S.take_unread(slot, listener.channel)) do
      local value = entry[1]
      if not listener.raw then
        local _
        _, _, _, value = S.message_parts(value)
      end
      add(topic, value, entry)
    end
  end
  sort(all, function(a, b) return a.serial < b.serial end)
  return all
end

local EVENT <const> = "@event" -- no topic may begin so

function S.add_unread_events(slot, list, kind)
  local waiting, count = {}, 0
  if slot.events then waiting, count = drain(slot.events) end
  for i = 1, count do
    if not kind or waiting[i].kind == kind then
      local event = {}
      for name, value in next, waiting[i] do event[name] = value end
      event.at = event.at:unix_nano()
      list[#list + 1] = { EVENT, S.pack_args(event), "" }
    end
  end
  return list
end

function S.deliver_carried(slot, topic, from, args)
  local count, value, is_table = S.decode_payload(args)
  if topic == EVENT and is_table and value.kind then return S.deliver_event(slot, value) end
  S.deliver(slot, topic, from, count, value, is_table)
end
