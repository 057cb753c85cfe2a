-- The command `perdure run examples/orders demo`: shows the progress, and at the end a table by
-- outcome and what the audit of the ledger says. Returns 0 when it found nothing wrong, else 1.
local funcs = require("funcs")
local io = require("io")
local time = require("time")

local SHOW <const> = "500ms" -- between two lines of progress
local FIRST <const> = "50ms" -- until the intake has read the file
local STUCK <const> = 120 -- looks in a row without an order that ended: something is wrong

-- What the statistics process knows, or an empty table while it cannot say.
local function ask()
  process.send("statistics", "report?")
  local inbox = process.inbox()
  local got = channel.select({ inbox:case_receive(), time.after("2s"):case_receive() })
  return got.channel == inbox and got.value:payload():data() or {}
end

-- Show the progress until every order has ended; their results, or nil.
local function watch()
  local before, idle = -1, 0
  while idle < STUCK do
    local now = ask()
    if now.read then
      local shipped = now.outcomes.shipped or 0
      io.print(string.format(
        "%4d of %d orders accepted, %3d under way, %3d shipped, %3d ended otherwise",
        now.accepted, now.read, now.accepted - now.ended, shipped, now.ended - shipped
      ))
      if now.results then return now.results end
    end
    idle = now.ended == before and idle + 1 or 0
    before = now.ended
    time.sleep(now.read and SHOW or FIRST)
  end
end

local function main()
  local results = watch()
  if not results then
    io.print("No order has ended for a while: see `perdure workflows list --app examples/orders`.")
    return 1
  end
  local audit, err = funcs.call("app:audit", results)
  if err then return nil, err end
  io.print()
  for _, line in ipairs(audit.lines) do io.print(line) end
  return audit.sound and 0 or 1
end

return { main = main }
