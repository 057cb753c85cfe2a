-- channel.select: waiting on several channels at once.
--
-- Cases are tried in their order. When none is ready, one record of the select is put, with an entry for each
-- case, into the queues of all its channels; whoever feeds one of them first decides it.
local S = ...
local rawget, setmetatable, type = rawget, setmetatable, type
local BLOCK, yield = S.BLOCK, coroutine.yield
local try_send, try_receive, enqueue, withdraw = S.try_send, S.try_receive, S.enqueue, S.withdraw
local channel_of, handle_of, is_external = S.channel_of, S.handle_of, S.is_external
local RECEIVERS, SENDERS = S.RECEIVERS, S.SENDERS

local CASE_COST <const> = 50 -- instructions
local SIDE, CH, VALUE = {}, {}, {} -- private keys of a case
local case_mt = S.own_type("case", {})

function S.channel_methods.case_send(handle, value)
  return setmetatable({ [CH] = channel_of(handle), [SIDE] = SENDERS, [VALUE] = value }, case_mt)
end

function S.channel_methods.case_receive(handle)
  return setmetatable({ [CH] = channel_of(handle), [SIDE] = RECEIVERS }, case_mt)
end

-- The cases as a list of ours, which user code cannot change while the select waits.
local function list_of(cases)
  if type(cases) ~= "table" or S.own_name(cases) then
    return S.raise("Invalid", "channel.select takes a table of cases, got " .. S.show(cases))
  end
  local list, count = {}, 0
  local case = rawget(cases, 1)
  while case ~= nil do
    count = count + 1
    if S.own_name(case) ~= "case" then
      return S.raise("Invalid", "channel.select: case " .. count .. " is no case: use ch:case_receive() or ch:case_send(v)")
    end
    list[count] = case
    case = rawget(cases, count + 1)
  end
  return list
end

local function try(cases)
  for i = 1, #cases do
    local case = cases[i]
    local ch = case[CH]
    if case[SIDE] == SENDERS then
      if try_send(ch, case[VALUE]) then return { channel = handle_of(ch), ok = true } end
    else
      local there, value, ok = try_receive(ch)
      if there then return { channel = handle_of(ch), value = value, ok = ok } end
    end
  end
  return nil
end

local function wait_for_case(slot, task, cases, record)
  local external = false
  for i = 1, #cases do
    local case = cases[i]
    record[i] = { task, case[VALUE], record }
    enqueue(case[CH], case[SIDE], record[i])
    external = external or is_external(case[CH])
  end
  if not external then
    record.counted = true
    S.count_blocked(slot)
  end
end

local function wait(cases)
  local record = { over = false, chosen = false, counted = false }
  local value, ok = yield(BLOCK, wait_for_case, cases, record)
  local chosen
  for i = 1, #cases do
    if record[i] == record.chosen then
      chosen = cases[i]
    else
      withdraw(cases[i][CH])
    end
  end
  if chosen[SIDE] == RECEIVERS then return { channel = handle_of(chosen[CH]), value = value, ok = ok } end
  if not ok then S.raise("Invalid", "send on a closed channel") end
  return { channel = handle_of(chosen[CH]), ok = true }
end

function S.modules.channel.select(cases)
  local list = list_of(cases)
  S.charge(CASE_COST * (1 + #list))
  local result = try(list)
  if not result then
    if rawget(cases, "default") then return { default = true, ok = true } end
    result = wait(list)
  end
  return result
end

S.waits[S.modules.channel.select] = "waits in channel.select"
