-- What a workflow has not read: when each message that waits in one of its channels came, and from whom. A listener
-- gives plain values, which do not tell; who goes on as new hands on whole messages, in their order.
--
-- S.note_arrival(slot, channel, from, count, serial)    after a message of `count` payloads was fed to a channel;
--     serial: of one that is fed again, nil for a new one
-- S.take_unread(slot, channel) -> list of {value, serial, from, count}     takes all that waits out of it
local S = ...
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
