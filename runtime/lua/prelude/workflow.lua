-- The module `workflow`, for workflows only.
local S = ...
local next, type, math_type = next, type, math.type
local find, utf8_len = string.find, utf8.len

local workflow = {}

local function here(where)
  local slot = S.current
  if slot.durable then return slot end
  return nil, S.new_error("Invalid", where .. ": only a workflow can call this; " .. S.entry_of(slot) .. " is none")
end

function workflow.info()
  local slot, err = here("workflow.info")
  if not slot then return nil, err end
  return S.merge(S.copy(S.info_of(slot)), { history_length = slot.history_length, history_size = slot.history_size })
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
  return S.spawn("workflow.exec", S.EXEC, nil, id, S.info_of(slot).host, ...)
end

function workflow.version(change, lowest, highest)
  local slot, err = here("workflow.version")
  if not slot then return nil, err end
  if not S.is_text(change) then
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

-- Search attributes: what `perdure workflows list --where` finds runs by. Memo: what else a person may want to know.
-- Both are added to those that the run has.

local FIELDS = { workflow_id = true, run_id = true, entry = true, host = true, status = true, started = true, ended = true }
local WORDS = { ["and"] = true, ["or"] = true, ["not"] = true, ["true"] = true, ["false"] = true }
local NAME_MAX <const> = 128
-- The version of the machine since which a run on a server waits to hear whether that takes its attributes.
local CHECKED <const> = 3

-- What is wrong with a search attribute, or nil.
local function wrong_attribute(name, value)
  if type(name) ~= "string" or not find(name, "^[%a_][%w_.-]*$") or #name > NAME_MAX then
    return "the name of an attribute must be a word, got " .. S.show(name)
  elseif FIELDS[name] or WORDS[name] then
    return name .. " cannot be the name of an attribute: every run has it"
  end
  local kind = type(value)
  if kind == "number" and value ~= value or kind == "string" and not utf8_len(value) then kind = "unsearchable" end
  if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    return name .. " must be a text in UTF-8, a number, true or false, got " .. S.show(value)
  end
end

local function checked(where, name, values, check)
  if values == nil then return nil end
  if type(values) ~= "table" or S.own_name(values) then return nil, S.bad_argument(where, name, "a table", values) end
  for key, value in next, values do
    local wrong = check and check(key, value) or type(key) ~= "string" and "its keys must be texts, got " .. S.show(key)
    if wrong then return nil, S.new_error("Invalid", where .. ": " .. name .. ": " .. wrong) end
  end
  local copied, err = S.try_copy(values)
  if err then return nil, S.error_in(where, err) end
  err = S.refused(S.current, "the ", name == "memo" and name or "search attributes", #S.encode(copied))
  if err then return nil, err end
  return copied
end

function workflow.attrs(attributes)
  local where = "workflow.attrs"
  local slot, err = here(where)
  if not slot then return nil, err end
  if type(attributes) ~= "table" or S.own_name(attributes) then
    return nil, S.bad_argument(where, "attributes", "a table with search and memo", attributes)
  end
  for name in next, attributes do
    if name ~= "search" and name ~= "memo" then
      return nil, S.new_error("Invalid", where .. ": there is no " .. S.show(name) .. "; there are search and memo")
    end
  end
  local search, memo
  search, err = checked(where, "search", attributes.search, wrong_attribute)
  if err then return nil, err end
  memo, err = checked(where, "memo", attributes.memo)
  if err then return nil, err end
  if search and slot.derived and (slot.machine or CHECKED) >= CHECKED then
    local seq = S.next_seq(slot)
    S.emit_checked_attributes(slot.pid, seq, search, memo)
    return S.await(seq)
  end
  S.emit_attributes(slot.pid, search, memo)
  return true
end

S.modules.workflow = workflow
