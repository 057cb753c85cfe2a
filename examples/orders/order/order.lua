-- The life of an order: reserve, charge, pack, have it approved if it is large, ship.
--
-- order: {id, total (EUR), quantity, stock, packing (duration), approval_within (duration)}; all but
-- id and total may be missing.
-- Returns {id, total, outcome, reason}.
local funcs = require("funcs")
local time = require("time")
local saga = require("saga")

local APPROVAL_ABOVE <const> = 100 -- EUR

-- Ask for a decision and wait for it: "approved", "refused", or "expired" when none came in time.
local function decision(order)
  local _, err = funcs.call("app:request_approval", order, process.pid())
  if err then return nil, err end
  local inbox = process.inbox()
  local expiry = time.after(order.approval_within or "24h")
  while true do
    local got = channel.select({ inbox:case_receive(), expiry:case_receive() })
    if got.channel == expiry then return "expired" end
    local topic = got.value:topic()
    if topic == "approve" then return "approved" end
    if topic == "reject" then return "refused" end
  end
end

local function main(order)
  local steps = saga.new(order)

  local function ended(outcome, reason)
    return { id = order.id, total = order.total, outcome = outcome, reason = reason }
  end

  -- A function that turns an order down names the outcome in the details of its error. Any other
  -- error is a fault and fails the workflow.
  local function turned_down(err)
    local outcome = (err:details() or {}).outcome
    if outcome then return ended(outcome, err:message()) end
    return nil, err
  end

  local _, err = steps:call("app:reserve", "app:release")
  if err then return turned_down(err) end

  _, err = steps:call("app:charge", "app:refund")
  if err then return turned_down(err) end

  time.sleep(order.packing or "100ms")

  if order.total > APPROVAL_ABOVE then
    local outcome, failed = decision(order)
    if outcome ~= "approved" then
      failed = steps:undo() or failed
      if failed then return nil, failed end
      return ended(outcome)
    end
  end

  _, err = steps:call("app:ship")
  if err then return turned_down(err) end
  return ended("shipped")
end

return { main = main }
