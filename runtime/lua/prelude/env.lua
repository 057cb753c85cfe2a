-- The module `env`: the variables of the node. What a workflow gets is in its history.
local S = ...
local type = type

local function check(where, name)
  if type(name) ~= "string" or name == "" then return S.bad_argument(where, "name", "a text", name) end
end

S.modules.env = {
  get = function(name)
    local wrong = check("env.get", name)
    if wrong then return nil, wrong end
    return S.ask("env", "get", name)
  end,

  get_all = function() return S.ask("env", "get_all") end,

  set = function(name, value)
    local wrong = check("env.set", name)
    if not wrong and type(value) ~= "string" then wrong = S.bad_argument("env.set", "value", "a text", value) end
    if wrong then return nil, wrong end
    return S.ask("env", "set", name, value)
  end,
}
