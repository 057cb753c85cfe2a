-- process.registry: names of processes. The registry is the node's; each function is a command.
local S = ...
local find, type = string.find, type

local function request(verb, name, target)
  local where = "process.registry." .. verb
  if not S.is_text(name) or find(name, "[|{}@]") then
    return nil, S.bad_argument(where, "name", "a text without | { } @", name)
  end
  if target ~= nil and not S.is_text(target) then return nil, S.bad_argument(where, "pid", "a PID", target) end
  local slot = S.current
  local seq = S.next_seq(slot)
  -- From here on, since its end may come before the answer.
  if verb == "register" and (target == nil or target == slot.pid) then slot.named = true end
  S.emit_name(S.pid_of(slot), seq, verb, name, target)
  return S.await(seq)
end

S.process.registry = {
  register = function(name, pid) return request("register", name, pid) end,
  lookup = function(name) return request("lookup", name) end,
  unregister = function(name) return request("unregister", name) end,
}
