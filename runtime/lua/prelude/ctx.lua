-- The module `ctx`: values that are inherited by what is spawned or called.
local S = ...
local type = type

S.modules.ctx = {
  get = function(key)
    if type(key) ~= "string" or key == "" then return nil, S.bad_argument("ctx.get", "key", "a text", key) end
    local context = S.context_of(S.current)
    local value = context and context[key]
    if value == nil then return nil, S.new_error("NotFound", 'ctx.get: there is no "' .. key .. '" in the context') end
    return S.copy(value), nil
  end,
  all = function() return S.copy(S.context_of(S.current) or {}), nil end,
}
