-- The module `store`: values by key, in the stores of the node. Not for workflows: their answers are recorded
-- nowhere.
local S = ...
local find, setmetatable, type = string.find, setmetatable, type
local math_type, tointeger = math.type, math.tointeger

local SECOND <const> = 1000000000
local LONGEST <const> = 100 * 365 * 86400 * SECOND

-- Handles: {id, released} under a private key.
local STATE = {}
local methods = {}
local store_mt = S.own_type("store", { __index = methods })

-- The id of the store behind a handle; or nil, err.
local function store_of(handle, where, key)
  if S.own_name(handle) ~= "store" then
    S.raise("Invalid", "not a store: " .. S.show(handle) .. "; call its methods with a colon, as in store:" .. where .. "(…)")
  end
  local state = handle[STATE]
  if state.released then return nil, S.new_error("Invalid", "store:" .. where .. ": " .. state.id .. " was released") end
  if type(key) ~= "string" or key == "" then return nil, S.bad_argument("store:" .. where, "key", "a text", key) end
  return state.id
end

-- Nanoseconds of a ttl: a number is seconds, anything else a duration; nil and 0 are none.
local function ttl_of(ttl)
  if ttl == nil then return nil end
  local ns, err
  if math_type(ttl) then
    ns = ttl * 1.0 * SECOND
    ns = ns <= LONGEST and tointeger(ns // 1)
  else
    ns, err = S.to_ns(ttl)
    if err then return nil, S.error_in("store:set", err) end
  end
  if not ns or ns < 0 or ns > LONGEST then
    return nil, S.bad_argument("store:set", "ttl", "from 0 to 100 years, in seconds or as a duration", ttl)
  end
  return ns > 0 and ns or nil
end

function methods.get(handle, key)
  local id, err = store_of(handle, "get", key)
  if not id then return nil, err end
  return S.ask("store", "get", id, key)
end

function methods.has(handle, key)
  local id, err = store_of(handle, "has", key)
  if not id then return nil, err end
  return S.ask("store", "has", id, key)
end

function methods.set(handle, key, value, ttl)
  local id, err = store_of(handle, "set", key)
  if not id then return nil, err end
  if value == nil then return nil, S.new_error("Invalid", "store:set: the value is nil: use store:delete") end
  ttl, err = ttl_of(ttl)
  if err then return nil, err end
  return S.ask("store", "set", id, key, value, ttl)
end

-- True when there was a value.
function methods.delete(handle, key)
  local id, err = store_of(handle, "delete", key)
  if not id then return nil, err end
  return S.ask("store", "delete", id, key)
end

-- True when it was not released before.
function methods.release(handle)
  local id = store_of(handle, "release", "any")
  if not id then return false end
  handle[STATE].released = true
  return true
end

S.modules.store = {
  get = function(id)
    if type(id) ~= "string" or not find(id, "^[^:]+:[^:]+$") then
      return nil, S.bad_argument("store.get", "store id", "namespace:name", id)
    end
    local refused = S.refuse_in_workflow("store.get")
    if refused then return nil, refused end
    local found, err = S.ask("store", "open", id)
    if not found then return nil, err end
    return setmetatable({ [STATE] = { id = id } }, store_mt)
  end,
}
