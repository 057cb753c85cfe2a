-- Reads the orders and starts a workflow for each; then watches the file for more.
--
-- The order number is the workflow id, and an id is used once: an intake that was killed halfway
-- begins again at the top of the file and doubles nothing.
--
-- Tells "statistics" of each order ("accepted") and how many there are ("read"). Whoever sends it
-- "repeat" is told everything again.
local errors = require("errors")
local funcs = require("funcs")
local logger = require("logger")
local time = require("time")

local PACE <const> = "15ms" -- between two new orders
local WATCH <const> = "1s" -- between two looks at the file

local start = process.with_options({
  ["workflow.id_conflict_policy"] = "fail",
  ["workflow.id_reuse_policy"] = "reject_duplicate",
})

-- The PID of an order's workflow, and whether it was started just now.
local function accept(order)
  local pid, err = start:with_options({ ["workflow.id"] = tostring(order.id) })
    :spawn("app:order", "app:orders", order)
  if pid then return pid, true end
  if errors.is(err, errors.ALREADY_EXISTS) then return err:details().pid, false end
  error(err)
end

local function main()
  process.registry.register("intake")
  local inbox, events = process.inbox(), process.events()
  local known, accepted, count = {}, {}, 0

  local function tell(dest, from)
    for i = from, #accepted do process.send(dest, "accepted", accepted[i]) end
    process.send(dest, "read", { count = count })
  end

  -- Wait, and answer meanwhile; true when it is time to go.
  local function cancelled_within(duration)
    local over = time.after(duration)
    while true do
      local got = channel.select({ inbox:case_receive(), events:case_receive(), over:case_receive() })
      if got.channel == over then return false end
      if got.channel == events and got.value.kind == process.event.CANCEL then return true end
      if got.channel == inbox and got.value:topic() == "repeat" then tell(got.value:from(), 1) end
    end
  end

  repeat
    local orders, err = funcs.call("app:read_orders")
    if err then return nil, err end
    count = #orders
    local new = 0
    for _, order in ipairs(orders) do
      if not known[order.id] then
        known[order.id] = true
        local pid, started = accept(order)
        accepted[#accepted + 1] = { id = order.id, pid = pid }
        tell("statistics", #accepted)
        if started then
          new = new + 1
          if cancelled_within(PACE) then return end
        end
      end
    end
    if new > 0 then logger.info("orders accepted", { new = new, all = #accepted }) end
  until cancelled_within(WATCH)
end

return { main = main }
