-- Passes decisions on to the workflows that wait for them.
--
-- A decision is marked as delivered after the workflow has it on disk. Killed in between, the
-- approver sends it once more, and the workflow, which heeds the first, does not care.
local funcs = require("funcs")
local time = require("time")

local LOOK <const> = "100ms" -- between two looks for new decisions

local function deliver()
  local decisions, err = funcs.call("app:decisions")
  if err then error(err) end
  for _, made in ipairs(decisions) do
    -- A workflow that has ended is not found, and needs no decision any more.
    local _, refused = process.send(made.pid, made.topic, { by = made.by })
    if refused and refused:retryable() then error(refused) end
    _, err = funcs.call("app:delivered", made.pid)
    if err then error(err) end
  end
end

local function main()
  local events = process.events()
  while true do
    deliver()
    local again = time.after(LOOK)
    local got = channel.select({ events:case_receive(), again:case_receive() })
    if got.channel == events and got.value.kind == process.event.CANCEL then return end
  end
end

return { main = main }
