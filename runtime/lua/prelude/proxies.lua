-- Views of shared libraries: libraries belong to all slots of the VM, and each slot gets a table of its own
-- that reads through to them, so that what it writes there is seen by nobody else.
--
-- S.proxy(library) -> table      the library must be complete
local S = ...
local raw_next, setmetatable, type = next, setmetatable, type

local proxy_mts = {} -- [library] = metatable of its proxies

-- Tables in a library (process.event) are proxies too, made when they are asked for, one a slot.
local function nested_proxy(library)
  local slot = S.current
  local made = slot.nested
  if not made then
    made = {}
    slot.nested = made
  end
  local proxy = made[library]
  if not proxy then
    proxy = S.proxy(library)
    made[library] = proxy
  end
  return proxy
end

local function new_mt(library)
  local flat, nested = {}, {}
  for key, value in raw_next, library do
    if type(value) == "table" and not S.own_name(value) then nested[key] = value else flat[key] = value end
  end
  if raw_next(nested) ~= nil then
    setmetatable(flat, {
      __index = function(_, key)
        local value = nested[key]
        return value and nested_proxy(value)
      end,
    })
  end
  return {
    __metatable = false,
    __index = flat,
    __call = library.__call,
    __pairs = function(proxy)
      local merged = S.merge(flat, nil)
      for key, value in raw_next, nested do merged[key] = nested_proxy(value) end
      for key, value in raw_next, proxy do merged[key] = value end
      return S.current.proto.globals.pairs(merged)
    end,
  }
end

function S.proxy(library)
  local mt = proxy_mts[library]
  if not mt then
    mt = new_mt(library)
    proxy_mts[library] = mt
  end
  return setmetatable({}, mt)
end
