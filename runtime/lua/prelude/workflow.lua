-- The module `workflow`, for workflows only.
local S = ...
local type, math_type = type, math.type

local workflow = {}

local function here(where)
  local slot = S.current
  if slot.durable then return slot end
  return nil, S.new_error("Invalid", where .. ": only a workflow can call this; " .. S.entry_of(slot) .. " is none")
end

function workflow.info()
  local slot, err = here("workflow.info")
  if not slot then return nil, err end
  return S.merge(S.copy(slot.info), { history_length = slot.history_length, history_size = slot.history_size })
end

function workflow.history_length()
  local slot, err = here("workflow.history_length")
  if not slot then return nil, err end
  return slot.history_length
end

function workflow.history_size()
  local slot, err = here("workflow.history_size")
  if not slot then return nil, err end
  return slot.history_size
end

-- A child workflow on the host of this one; waits for its result.
function workflow.exec(id, ...)
  local slot, err = here("workflow.exec")
  if not slot then return nil, err end
  return S.spawn("workflow.exec", S.EXEC, nil, id, slot.info.host, ...)
end

function workflow.version(change, lowest, highest)
  local slot, err = here("workflow.version")
  if not slot then return nil, err end
  if type(change) ~= "string" or change == "" then
    return nil, S.bad_argument("workflow.version", "change id", "a text", change)
  end
  if math_type(lowest) ~= "integer" or math_type(highest) ~= "integer" or lowest > highest then
    return nil, S.new_error("Invalid", "workflow.version: min and max must be integers with min <= max")
  end
  local version = S.version(slot, change, lowest, highest)
  if version < lowest or version > highest then
    return nil, S.new_error(
      "Invalid",
      'workflow.version: this run took version ' .. version .. ' of "' .. change .. '", which the code no longer has (' .. lowest .. " to " .. highest .. ")"
    )
  end
  return version
end

S.modules.workflow = workflow
