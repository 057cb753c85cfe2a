-- Reads the orders and starts a workflow for each; then watches the file for more.
--
-- The order number is the workflow id, and an id is used once: an intake that was killed halfway
-- begins again at the top of the file and doubles nothing.
--
-- Tells "statistics" of each order ("accepted") and how many there are ("read"). Whoever sends it
-- "repeat" is told everything again.
local errors = require("errors")
local funcs = require("funcs")
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

  while true do
    local orders, err = funcs.call("app:read_orders")
    if err then return nil, err end
    count = #orders
    for _, order in ipairs(orders) do
      if not known[order.id] then
        known[order.id] = true
        local pid, new = accept(order)
        accepted[#accepted + 1] = { id = order.id, pid = pid }
        tell("statistics", #accepted)
        if new then time.sleep(PACE) end
      end
    end

    local look = time.after(WATCH)
    repeat
      local got = channel.select({ inbox:case_receive(), events:case_receive(), look:case_receive() })
      if got.channel == events and got.value.kind == process.event.CANCEL then return end
      if got.channel == inbox and got.value:topic() == "repeat" then tell(got.value:from(), 1) end
    until got.channel == look
  end
end

return { main = main }
