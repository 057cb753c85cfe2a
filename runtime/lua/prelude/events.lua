-- The module `events`: the event bus of the node. Not for workflows: what comes from it is recorded nowhere.
--
-- A subscription of a slot has the number of the request that made it, slot.subscriptions[number] = state. The bus
-- sends one batch at a time and waits until the VM has taken it, so what waits is bounded here and there.
--
-- S.take_events(slot, number, batch, dropped)     batch: list of encoded events; dropped: lost so far, by the bus
-- S.close_subscriptions(slot)                     the slot has ended
local S = ...
local next, setmetatable, type = next, setmetatable, type
local huge = math.huge

local QUEUED <const> = 1024 -- events that wait in a channel, at most

-- Why one of the texts cannot be what it is for, or nil. names: list of their names
local function check(where, names, ...)
  local values = { ... }
  for i = 1, #names do
    local value = values[i]
    if type(value) ~= "string" or value == "" then return S.bad_argument(where, names[i], "a text", value) end
  end
  return S.refuse_in_workflow(where)
end

-- Subscriptions: {slot, number, channel, lost, dropped} under a private key.
local STATE = {}
local methods = {}
local subscription_mt = S.own_type("subscription", { __index = methods })

local function state_of(subscription)
  if S.own_name(subscription) ~= "subscription" then
    S.raise("Invalid", "not a subscription: " .. S.show(subscription) .. "; call its methods with a colon, as in sub:channel()")
  end
  return subscription[STATE]
end

function methods.channel(subscription) return S.handle_of(state_of(subscription).channel) end

-- How many events were lost because they were not received in time.
function methods.dropped(subscription)
  local state = state_of(subscription)
  return state.lost + state.dropped
end

-- True when it was open. What waits in the channel can still be received.
function methods.close(subscription)
  local state = state_of(subscription)
  local slot = state.slot
  if slot.subscriptions[state.number] ~= state then return false end
  slot.subscriptions[state.number] = nil
  S.close_channel(state.channel)
  return S.tell("events", "close", state.number)
end

function S.take_events(slot, number, batch, dropped)
  local state = slot.subscriptions and slot.subscriptions[number]
  if not state then return end
  local channel = state.channel
  state.dropped = dropped
  for i = 1, #batch do
    if S.waiting(channel) >= QUEUED then
      S.try_receive(channel)
      state.lost = state.lost + 1
    end
    S.feed(channel, S.decode(batch[i]))
  end
  S.emit_tell(slot.pid, "events", "ready", S.pack_args(number))
end

function S.close_subscriptions(slot)
  for number in next, slot.subscriptions do S.emit_tell(slot.pid, "events", "close", S.pack_args(number)) end
  slot.subscriptions = nil
end

S.modules.events = {
  send = function(system, kind, path, data)
    local wrong = check("events.send", { "system", "kind", "path" }, system, kind, path)
    if wrong then return nil, wrong end
    return S.ask("events", "send", system, kind, path, data)
  end,

  -- system, kind: patterns; without a kind, all of them
  subscribe = function(system, kind)
    if kind == nil then kind = "**" end
    local wrong = check("events.subscribe", { "system", "kind" }, system, kind)
    if wrong then return nil, wrong end
    local slot = S.current
    -- Events may come before the answer.
    local number = slot.seq + 1
    local state = { slot = slot, number = number, channel = S.new_channel(slot, huge, true), lost = 0, dropped = 0 }
    slot.subscriptions = slot.subscriptions or {}
    slot.subscriptions[number] = state
    local subscribed, err = S.ask("events", "subscribe", number, system, kind)
    if not subscribed then
      slot.subscriptions[number] = nil
      return nil, err
    end
    return setmetatable({ [STATE] = state }, subscription_mt)
  end,
}
