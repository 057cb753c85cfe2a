-- Fuel: how much a slot may run before it has to wait, and the end of one that runs on.
--
-- A count hook on every coroutine charges the slot that runs. So do the making of a coroutine, the work that
-- library functions do in C (S.charge), and each second of wall clock that passes meanwhile, for what
-- neither sees. When the fuel of a turn is gone, or the VM holds more than S.memory_limit, the slot is killed:
-- slot.killed says why, and error(nil) unwinds it, again at every further hook. There is no sentinel for user code
-- to meet: whatever catches errors on its behalf looks at slot.killed first (S.passed).
--
-- S.busy is set by operations that touch more than the running slot. A kill that falls into one comes
-- right behind it.
--
-- S.new_coroutine(f) -> thread      under the hook, charged to the running slot
-- S.charge(amount)                  charge the running slot `amount` instructions
-- S.passed(ok, …) -> ok, …          the results of a pcall made for user code; raises a kill again
local S = ...
local create, running = coroutine.create, coroutine.running
local sethook = debug.sethook
local collectgarbage, error = collectgarbage, error
local time = os.time

local HOOK_EVERY <const> = 1000 -- instructions between two looks at the fuel
local COROUTINE_COST <const> = 200
local SECOND_COST <const> = 3000000 -- a busy VM makes fifty times as many instructions
local OUT_OF_MEMORY <const> = "not enough memory" -- what Lua raises at the hard cap

S.current = nil -- the slot that runs
S.busy = false
local FUEL = S.fuel -- instructions per turn of a slot; false: no hooks, no limits
local LIMIT = S.memory_limit -- KB
-- Garbage may go above the limit; what is alive may not. The gap keeps a VM that is nearly full from
-- collecting at every hook.
local COLLECT_AT = LIMIT + LIMIT // 8
local second_cost = FUEL and (FUEL // 32 < SECOND_COST and FUEL // 32 or SECOND_COST)
local second = 0 -- the wall clock at the last hook

local function kill(slot, reason)
  slot.killed = slot.killed or reason
  error(nil)
end

local function out_of_fuel(slot)
  return kill(slot, "out of fuel: it ran " .. FUEL .. " instructions without waiting")
end

-- True when the VM holds too much even after a collection.
local function is_full()
  if collectgarbage("count") <= COLLECT_AT then return false end
  collectgarbage()
  return collectgarbage("count") > LIMIT
end

local hurried = false -- a coroutine whose hook fires at every instruction, to kill it as soon as S.busy is over

local function hook()
  local slot = S.current
  if not slot then return end
  if hurried then
    if S.busy then return end
    sethook(running(), hook, "", HOOK_EVERY)
    hurried = false
  else
    slot.fuel = slot.fuel - HOOK_EVERY
  end
  local now = time()
  if now ~= second then
    second = now
    slot.fuel = slot.fuel - second_cost
  end
  if S.busy then
    if slot.killed or slot.fuel <= 0 then
      hurried = true
      sethook(running(), hook, "", 1)
    end
    return
  end
  if slot.killed then error(nil) end
  if slot.fuel <= 0 then out_of_fuel(slot) end
  local due = slot.step_due
  if due and S.wall() > due then
    slot.overtime = true
    kill(slot, "a step took longer than its task_timeout of " .. slot.step_limit // 1000000 .. "ms")
  end
  if collectgarbage("count") > COLLECT_AT then
    slot.fuel = slot.fuel - FUEL // 16
    if is_full() then
      kill(slot, "out of memory: it grew its VM past " .. LIMIT // 1024 .. " MB")
    end
  end
end

function S.charge(amount)
  local slot = S.current
  if FUEL and slot then
    local fuel = slot.fuel - amount
    slot.fuel = fuel
    if fuel <= 0 and not S.busy then out_of_fuel(slot) end
  end
end
local charge = S.charge

function S.new_coroutine(f)
  local co = create(f)
  if FUEL then
    charge(COROUTINE_COST)
    sethook(co, hook, "", HOOK_EVERY)
  end
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
