-- A saga: steps, each with the function that undoes it. When one fails, it and all before it are
-- undone, latest first.
--
--   local steps = saga.new(order)
--   local receipt, err = steps:call("app:charge", "app:refund")
local errors = require("errors")
local funcs = require("funcs")

-- An undo is tried until it succeeds: to give up would leave things half done.
local undoing = funcs.new():with_options({
  ["activity.retry_policy"] = { initial_interval = 100, maximum_interval = 10000 }, -- ms
})

local saga = {}
saga.__index = saga

-- subject: the argument of every step and every undo.
function saga.new(subject)
  return setmetatable({ subject = subject, undos = {} }, saga)
end

-- Call a function: its result, or nil and its error when it failed and everything is undone.
function saga:call(step, undo)
  -- Noted before the call, since a step whose answer is lost may have happened: an undo must be
  -- harmless where there is nothing to undo.
  self.undos[#self.undos + 1] = undo
  local result, err = funcs.call(step, self.subject)
  if err then return nil, self:undo() or err end
  return result
end

-- Undo everything; the error of an undo that refused for good, or nil.
function saga:undo()
  local failed
  for i = #self.undos, 1, -1 do
    local _, err = undoing:call(self.undos[i], self.subject)
    if err then failed = errors.wrap(err, "cannot undo: " .. self.undos[i]) end
  end
  self.undos = {}
  return failed
end

return saga
