-- Messages and payloads, as user code gets them.
--
-- A message is immutable to those who respect its methods; the one receiver owns what is in it. With
-- exactly one table as payload, fields that are no methods read through to that table.
--
-- S.new_message(topic, from, count, value, is_table): value is the payload, or the list of `count` > 1 payloads;
--     is_table: it is one payload, a table, and no object of ours
-- S.message_parts(message) -> topic, from, count, value, is_table
-- S.new_payload(value, format = "lua/any"); S.payload_format(payload); S.payload_methods; S.check_payload(payload, method)
local S = ...
local own = S.own
local getmetatable, setmetatable = debug.getmetatable, setmetatable

-- No field of a payload that reads through begins with a zero byte.
local TOPIC <const>, FROM <const>, VALUE <const>, COUNT <const> = "\0topic", "\0from", "\0value", "\0count"
local FORMAT <const> = "\0format" -- of a payload that is not "lua/any"

local payload_methods = {}
S.payload_methods = payload_methods
local payload_mt = S.own_type("payload", {
  __index = payload_methods,
  __tostring = function() return "payload" end,
  __data = function(payload) return payload[VALUE] end,
})
local function new_payload(value, format)
  return setmetatable({ [VALUE] = value, [FORMAT] = format ~= "lua/any" and format or nil }, payload_mt)
end
S.new_payload = new_payload

local function check(object, name)
  if not S.own_name(object) then
    S.raise("Invalid", name .. " is a method of messages and payloads: call it with a colon")
  end
end

function payload_methods.data(payload)
  if own[getmetatable(payload)] ~= "payload" then check(payload, "data") end
  return payload[VALUE]
end

function S.payload_format(payload) return payload[FORMAT] or "lua/any" end

function S.check_payload(payload, name)
  if own[getmetatable(payload)] ~= "payload" then S.raise("Invalid", name .. " is a method of payloads: call it with a colon") end
end

function payload_methods.get_format(payload)
  S.check_payload(payload, "get_format")
  return S.payload_format(payload)
end

local methods = {}
local function message_type(mt)
  mt.__tostring = function(message) return "message " .. message[TOPIC] end
  return S.own_type("message", mt)
end
local function value_of(message) return message[VALUE] end

local plain_mt = message_type({ __index = methods, __data = value_of })
local list_mt = message_type({
  __index = methods,
  __data = function(message)
    local list, value = {}, message[VALUE]
    for i = 1, message[COUNT] do list[i] = value[i] end
    return list
  end,
})
local table_mt = message_type({
  __index = function(message, key)
    local method = methods[key]
    if method then return method end
    return message[VALUE][key]
  end,
  __data = value_of,
})

local shapes = { [plain_mt] = "plain", [list_mt] = "list", [table_mt] = "table" }

function S.new_message(topic, from, count, value, is_table)
  if count == 1 then
    return setmetatable({ [TOPIC] = topic, [FROM] = from, [VALUE] = value }, is_table and table_mt or plain_mt)
  elseif count == 0 then
    return setmetatable({ [TOPIC] = topic, [FROM] = from, [COUNT] = 0 }, plain_mt)
  end
  return setmetatable({ [TOPIC] = topic, [FROM] = from, [VALUE] = value, [COUNT] = count }, list_mt)
end

function S.message_parts(message)
  local is_table = shapes[getmetatable(message)] == "table"
  return message[TOPIC], message[FROM], is_table and 1 or message[COUNT] or 1, message[VALUE], is_table
end

function methods.topic(message)
  if not message then check(message, "topic") end
  return message[TOPIC]
end

function methods.from(message)
  if not message then check(message, "from") end
  return message[FROM]
end

function methods.payload(message)
  local shape = shapes[getmetatable(message)]
  if shape == "table" or shape == "plain" and not message[COUNT] then
    return setmetatable({ [VALUE] = message[VALUE] }, payload_mt)
  elseif shape ~= "list" then
    check(message, "payload")
    return nil
  end
  local list, value = {}, message[VALUE]
  for i = 1, message[COUNT] do list[i] = new_payload(value[i]) end
  return list
end
