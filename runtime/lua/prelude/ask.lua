-- Requests to the Python half of a module, which the whole node shares: see runtime/routing/router.py, Module.
--
-- S.ask(module, verb, …) -> value, nil | nil, err     the running task waits; a workflow's history keeps the answer
-- S.tell(module, verb, …) -> true | nil, err          nobody waits, and no history keeps it
-- S.refuse_in_workflow(where) -> err or nil           for what cannot be recorded
local S = ...

function S.ask(module, verb, ...)
  local slot = S.current
  local args, err = S.try_encode_values(...)
  if not args then return nil, err end
  local seq = S.next_seq(slot)
  S.emit_ask(S.pid_of(slot), seq, module, verb, args)
  return S.await(seq)
end

function S.tell(module, verb, ...)
  local slot = S.current
  local args, err = S.try_encode_values(...)
  if not args then return nil, err end
  S.emit_tell(S.pid_of(slot), module, verb, args)
  return true
end

function S.refuse_in_workflow(where)
  if S.current.durable then
    return S.new_error("Invalid", where .. ": not supported in workflow context: call a function that does it")
  end
end
