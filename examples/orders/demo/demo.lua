-- The command `perdure run examples/orders demo`: shows the progress, and at the end a table by
-- outcome and what the audit of the ledger says. Returns 0 when it found nothing wrong, else 1.
local funcs = require("funcs")
local io = require("io")
local time = require("time")

local SHOW <const> = "500ms" -- between two lines of progress
local FIRST <const> = "250ms" -- until the first, and while the intake has not read the file
local STUCK <const> = 120 -- looks in a row without an order that ended: something is wrong

-- What comes first within a duration: "message" and its payload, "cancel", or nothing.
local function wait(duration)
  local inbox, events = process.inbox(), process.events()
  local got = channel.select({
    inbox:case_receive(), events:case_receive(), time.after(duration):case_receive(),
  })
  if got.channel == inbox then return "message", got.value:payload():data() end
  if got.channel == events and got.value.kind == process.event.CANCEL then return "cancel" end
end

-- Show the progress until every order has ended; their results, or nil and why there are none.
local function watch()
  local before, idle = nil, 0
  local what, now = wait(FIRST)
  while idle < STUCK and what ~= "cancel" do
    process.send("statistics", "report?")
    what, now = wait("2s")
    if now and now.read then
      local shipped = now.outcomes.shipped or 0
      io.print(string.format(
        "%4d of %d orders accepted, %3d under way, %3d shipped, %3d ended otherwise",
        now.accepted, now.read, now.accepted - now.ended, shipped, now.ended - shipped
      ))
      if now.results then return now.results end
    end
    local ended = now and now.ended
    idle = ended == before and idle + 1 or 0
    before = ended
    if what ~= "cancel" then what = wait(now and now.read and SHOW or FIRST) end
  end
  if what == "cancel" then return nil, "Stopped; the orders go on when the node runs again." end
  return nil, "No order has ended for a while: see perdure workflows list --open."
end

local function main()
  local results, why = watch()
  if not results then
    io.print(why)
    return 1
  end
  local audit, err = funcs.call("app:audit", results)
  if err then return nil, err end
  io.print()
  for _, line in ipairs(audit.lines) do io.print(line) end
  return audit.sound and 0 or 1
end

return { main = main }
