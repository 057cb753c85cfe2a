-- Fuel: how much a slot may run before it has to wait, and the end of one that runs on.
--
-- Code counts what it does by itself: what a user wrote is metered when it is compiled, and so are the files of the
-- prelude whose work a user can make long (runtime/lua/metering.py). They lower one variable that all of the VM
-- shares, and when LOOK_EVERY instructions are gone they call `look`, which charges the slot that runs. So do the
-- making of a coroutine, the work that library functions do in C (S.charge), and each second of wall clock that
-- passes meanwhile, for what neither sees. When the fuel of a turn is gone, or the VM holds more than
-- S.memory_limit, or S.step_growth more than before the step, the slot is killed: slot.killed says why, and error(nil)
-- unwinds it, again at every place that counts. There is no sentinel for user code to meet: whatever catches errors on
-- its behalf looks at slot.killed first (S.passed).
--
-- A count hook, which needs no metering, was here before. It makes the interpreter stop at every instruction of
-- a coroutine: call-heavy code took two and a half times as long, a message half as long again.
--
-- S.busy is set by operations that touch more than the running slot. A kill that falls into one comes
-- right behind it. What runs outside of coroutines, the scheduler and the boundary, is never killed.
--
-- S.fuel_up(slot)                   a step of a durable slot begins
-- S.new_coroutine(f) -> thread      charged to the running slot
-- S.charge(amount)                  charge the running slot `amount` instructions
-- S.share(f, counter, look) -> f    let a metered function, in which they have these names, count with all others
-- S.passed(ok, …) -> ok, …          the results of a pcall made for user code; raises a kill again
local S = ...
local create, running = coroutine.create, coroutine.running
local getupvalue, upvaluejoin = debug.getupvalue, debug.upvaluejoin
local collectgarbage, error = collectgarbage, error
local time = os.time

local LOOK_EVERY <const> = 1000 -- instructions between two looks at the fuel
local COROUTINE_COST <const> = 200
local SECOND_COST <const> = 3000000 -- a busy VM makes fifty times as many instructions
local OUT_OF_MEMORY <const> = "not enough memory" -- what Lua raises at the hard cap

S.current = nil -- the slot that runs
S.busy = false
S.look_every = LOOK_EVERY
local FUEL = S.fuel -- instructions per turn of a slot; false: nothing counts, no limits
local LIMIT = S.memory_limit -- KB
local GROWTH = S.step_growth -- KB that a step may add; false: as much as the VM may hold
local limit = LIMIT -- KB that the VM may hold now
-- Garbage may go above the limit; what is alive may not. The gap keeps a VM that is nearly full from
-- collecting at every look.
local collect_at = LIMIT + LIMIT // 8
local second_cost = FUEL and (FUEL // 8 < SECOND_COST and FUEL // 8 or SECOND_COST)
local second = 0 -- the wall clock at the last look
local left = LOOK_EVERY -- instructions until the next look

local function kill(slot, reason)
  slot.killed = slot.killed or reason
  left = -1
  error(nil)
end

local function out_of_fuel(slot)
  return kill(slot, "out of fuel: it ran " .. FUEL .. " instructions without waiting")
end

-- True when the VM holds too much even after a collection.
local function is_full()
  if collectgarbage("count") <= collect_at then return false end
  collectgarbage()
  return collectgarbage("count") > limit
end

local function out_of_memory(slot)
  local grew = limit == LIMIT and "its VM past " .. LIMIT // 1024
    or "its VM in one step by more than " .. GROWTH // 1024
  return kill(slot, "out of memory: it grew " .. grew .. " MB")
end

local function look()
  local slot, used = S.current, LOOK_EVERY - left
  local _, outside = running()
  left = LOOK_EVERY
  if not slot or outside then return end
  slot.fuel = slot.fuel - used
  local now = time()
  if now ~= second then
    second = now
    slot.fuel = slot.fuel - second_cost
  end
  if S.busy then
    if slot.killed or slot.fuel <= 0 then left = 0 end
    return
  end
  if slot.killed then kill(slot) end
  if slot.fuel <= 0 then out_of_fuel(slot) end
  local due = slot.step_due
  if due and S.wall() > due then
    slot.overtime = true
    kill(slot, "a step took longer than its task_timeout of " .. slot.step_limit // 1000000 .. "ms")
  end
  if collectgarbage("count") > collect_at then
    slot.fuel = slot.fuel - FUEL // 16
    if is_full() then out_of_memory(slot) end
  end
end

function S.fuel_up(slot)
  slot.fuel = FUEL
  if GROWTH then
    local most = collectgarbage("count") // 1 + GROWTH
    limit = most < LIMIT and most or LIMIT
    collect_at = limit + (limit < LIMIT and GROWTH or LIMIT) // 8
  end
end

function S.charge(amount)
  if FUEL then
    left = left - amount
    if left < 0 then look() end
  end
end
local charge = S.charge

local function both() return left, look end

function S.share(f, counter, name_of_look)
  local i, name = 1, getupvalue(f, 1)
  while name do
    if name == counter then
      upvaluejoin(f, i, both, 1)
    elseif name == name_of_look then
      upvaluejoin(f, i, both, 2)
    end
    i = i + 1
    name = getupvalue(f, i)
  end
  return f
end

function S.new_coroutine(f)
  local co = create(f)
  charge(COROUTINE_COST)
  return co
end

function S.passed(ok, err, ...)
  if not ok then
    local slot = S.current
    if err == OUT_OF_MEMORY and not slot.killed then slot.killed = "out of memory: its VM is full" end
    if slot.killed then error(nil) end
  end
  return ok, err, ...
end
