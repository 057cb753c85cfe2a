-- The scheduler: slots, their tasks, the ready queue and fuel.
--
-- A slot is one process, function call or workflow run. A task is one coroutine of a slot that the
-- scheduler resumes; coroutines which user code resumes itself are no tasks. A task that has to wait
-- registers itself with what it waits for and yields BLOCK; whoever feeds it calls S.wake, and the
-- task goes on with the two values given there. Nothing else ever crosses a yield of a task.
--
-- Fuel: a count hook on every coroutine charges the slot that runs. When its fuel is gone, KILL is
-- raised, and raised again at every further hook, and the sandbox's pcall, xpcall, resume and wrap
-- pass it on, so that no user code can hold it. S.busy keeps the hook from raising in the
-- middle of an operation that touches more than the running slot.
--
-- Durable slots (workflow runs) have a queue of their own: a step runs it until it is empty, with
-- one ration of fuel for the whole step. The other queue is run in slices.
local S = ...
local create, resume, running, yield =
  coroutine.create, coroutine.resume, coroutine.running, coroutine.yield
local sethook, traceback, getinfo = debug.sethook, debug.traceback, debug.getinfo
local collectgarbage, error, setmetatable = collectgarbage, error, setmetatable
local sub, find, gmatch = string.sub, string.find, string.gmatch
local concat, sort, ipairs, pairs, huge = table.concat, table.sort, ipairs, pairs, math.huge

local HOOK_EVERY <const> = 1000 -- instructions between two looks at the fuel
local SPAWN_COST <const> = 200 -- instructions that the creation of a coroutine is charged as

local BLOCK = setmetatable({}, { __metatable = false, __name = "block" })
local KILL = setmetatable({}, {
  __metatable = false,
  __tostring = function() return "process killed: out of fuel or memory" end,
})
S.BLOCK, S.KILL = BLOCK, KILL

local ready = { first = 1, last = 0 }
local durable_ready = { first = 1, last = 0 }

S.current = nil -- the slot that runs
S.co = nil -- its task
S.busy = false
S.fuel = S.fuel or false -- instructions per turn of a slot; false: no hooks
S.memory_limit = S.memory_limit or false -- KB of the VM at which the slot that grew it is killed

local function kill(slot, reason)
  slot.killed = reason
  error(KILL, 0)
end

local function hook()
  local slot = S.current
  if not slot then return end
  local fuel = slot.fuel - HOOK_EVERY
  slot.fuel = fuel
  if S.busy then return end
  if slot.killed then error(KILL, 0) end
  if fuel <= 0 then kill(slot, "out of fuel: it ran " .. S.fuel .. " instructions without yielding") end
  local limit = S.memory_limit
  if limit and collectgarbage("count") > limit then
    collectgarbage()
    if collectgarbage("count") > limit then
      kill(slot, "out of memory: it grew its VM past " .. limit .. " KB")
    end
  end
end

-- A new coroutine under the hook, charged to the running slot.
function S.new_coroutine(f)
  local co = create(f)
  if S.fuel then
    sethook(co, hook, "", HOOK_EVERY)
    local slot = S.current
    if slot then
      local fuel = slot.fuel - SPAWN_COST
      slot.fuel = fuel
      if fuel <= 0 and not S.busy then
        kill(slot, "out of fuel: it ran " .. S.fuel .. " instructions without yielding")
      end
    end
  end
  return co
end
local new_coroutine = S.new_coroutine

local function push(slot, co, a, b)
  local queue = slot.durable and durable_ready or ready
  local at = queue.last
  queue[at + 1], queue[at + 2], queue[at + 3], queue[at + 4] = co, slot, a, b
  queue.last = at + 4
end

local function push_front(slot, co, a, b)
  local queue = slot.durable and durable_ready or ready
  local at = queue.first - 4
  queue[at], queue[at + 1], queue[at + 2], queue[at + 3] = co, slot, a, b
  queue.first = at
end

-- Let a task that waits go on; a and b are what its wait returns.
S.wake = push

-- Start a task: f runs with a and b when its turn comes.
function S.start_task(slot, f, a, b)
  local co = new_coroutine(f)
  slot.tasks = slot.tasks + 1
  push(slot, co, a, b)
  return co
end

-- coroutine.spawn: the new task runs first, the running one right after it.
function S.spawn_task(f)
  local slot = S.current
  if running() ~= S.co then error("coroutine.spawn inside coroutine.wrap or resume is not possible", 3) end
  local co = new_coroutine(f)
  local others = slot.others
  if not others then
    others = { count = 0 }
    slot.others = others
  end
  others.count = others.count + 1
  others[co] = others.count
  slot.tasks = slot.tasks + 1
  push_front(slot, S.co)
  push_front(slot, co)
  return yield(BLOCK)
end

-- Where a coroutine stands in user code, as "file:line", or "?".
local function place(co)
  for level = 0, 50 do
    local info = getinfo(co, level, "Sl")
    if not info then return "?" end
    if info.currentline > 0 and sub(info.source, 1, 9) ~= "=perdure:" then
      return info.short_src .. ":" .. info.currentline
    end
  end
  return "?"
end

-- A traceback of a dead or waiting coroutine without the frames of the runtime.
function S.task_trace(co)
  local lines = {}
  for line in gmatch(traceback(co), "[^\n]+") do
    if not find(line, "perdure:", 1, true) and not find(line, "[C]: in ?", 1, true) then
      lines[#lines + 1] = line
    end
  end
  return concat(lines, "\n")
end

local function deadlock(slot)
  local waits = { "main waits on a channel at " .. place(slot.main) }
  local others = {}
  for co in pairs(slot.others or {}) do
    if co ~= "count" then others[#others + 1] = co end
  end
  sort(others, function(a, b) return slot.others[a] < slot.others[b] end)
  for _, co in ipairs(others) do
    waits[#waits + 1] = "a coroutine waits on a channel at " .. place(co)
  end
  S.finish(slot, false, S.new_error("Internal", "deadlock: " .. concat(waits, "; ")))
end

-- Wait for something that only the slot's own tasks can feed. Returns what S.wake is given; the
-- feeder has to lower slot.blocked.
function S.block_on_own()
  local slot = S.current
  local blocked = slot.blocked + 1
  slot.blocked = blocked
  if blocked == slot.tasks then slot.deadlocked = true end
  return yield(BLOCK)
end

local function task_ended(slot, co, ok, value, err)
  slot.tasks = slot.tasks - 1
  if not ok then
    if value == KILL then
      value = S.new_error("Internal", "process killed: " .. (slot.killed or "KILL raised"))
    elseif value == "not enough memory" then
      value = S.new_error("Internal", "process killed: out of memory")
    end
    S.finish(slot, false, S.to_error(value, S.task_trace(co)))
  elseif co == slot.main then
    if err then
      S.finish(slot, false, S.to_error(err))
    else
      S.finish(slot, true, value)
    end
  else
    slot.others[co] = nil
    if slot.blocked == slot.tasks and slot.tasks > 0 then slot.deadlocked = true end
  end
end

local function settle(slot, co, ok, mark, err)
  S.current, S.co = nil, nil
  if mark ~= BLOCK then task_ended(slot, co, ok, mark, err) end
  if slot.deadlocked then
    slot.deadlocked = nil
    if not slot.dead and slot.blocked == slot.tasks then deadlock(slot) end
  end
end

-- Run at most `budget` turns of a queue; true when something is left to run.
local function run(queue, budget, refuel)
  while queue.first <= queue.last do
    if budget <= 0 then return true end
    budget = budget - 1
    local at = queue.first
    local co, slot, a, b = queue[at], queue[at + 1], queue[at + 2], queue[at + 3]
    queue[at], queue[at + 1], queue[at + 2], queue[at + 3] = nil, nil, nil, nil
    queue.first = at + 4
    if not slot.dead then
      S.current, S.co = slot, co
      if refuel then slot.fuel = S.fuel end
      settle(slot, co, resume(co, a, b))
    end
  end
  queue.first, queue.last = 1, 0
  return false
end

function S.run_slice(budget) return run(ready, budget, true) end

-- Run a step of a durable slot to its end.
function S.run_step(slot)
  slot.fuel = S.fuel
  run(durable_ready, huge, false)
end
