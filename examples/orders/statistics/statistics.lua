-- Counts what becomes of the orders, in memory.
--
-- A process forgets everything when it crashes, and this one does not mind: it asks the intake for
-- the orders again, and monitors their workflows, which tell their end even when they ended long ago.
--
-- "accepted" {id, pid}, "read" {count}: from the intake.
-- "report?": answered with "report" {read, accepted, ended, outcomes = {name = count}, results}, where
-- results, what the workflows returned, is there once all orders that were read have ended.
local function main()
  process.registry.register("statistics")
  process.send("intake", "repeat")
  local inbox, events = process.inbox(), process.events()
  local order_of, results = {}, {}
  local read, accepted, outcomes = nil, 0, {}

  local function report()
    return {
      read = read,
      accepted = accepted,
      ended = #results,
      outcomes = outcomes,
      results = read == #results and results or nil,
    }
  end

  local function ended(event)
    local result, err = event.result.value, event.result.error
    if err then result = { id = order_of[event.from], outcome = "failed", reason = tostring(err) } end
    results[#results + 1] = result
    outcomes[result.outcome] = (outcomes[result.outcome] or 0) + 1
  end

  while true do
    local got = channel.select({ inbox:case_receive(), events:case_receive() })
    if got.channel == events then
      if got.value.kind == process.event.CANCEL then return end
      ended(got.value)
    else
      local message = got.value
      local topic = message:topic()
      if topic == "accepted" and not order_of[message.pid] then
        order_of[message.pid] = message.id
        accepted = accepted + 1
        local _, err = process.monitor(message.pid)
        if err then error(err) end
      elseif topic == "read" then
        read = message.count
      elseif topic == "report?" then
        process.send(message:from(), "report", report())
      end
    end
  end
end

return { main = main }
