-- The scheduler: slots, their tasks and the queue of those that are ready.
--
-- A slot is one process, function call or workflow run (see slots.lua). A task is a coroutine of a slot that the
-- scheduler resumes; coroutines which user code resumes itself are no tasks. A task that has to wait
-- registers itself (S.co) with what it waits for and calls S.block, which yields BLOCK; whoever feeds it calls
-- S.wake, and S.block returns the two values given there. Nothing else ever crosses a yield of a task.
--
-- A turn is a task running until it waits. A turn also runs the tasks it spawns, each until it waits,
-- on the same ration of fuel. Durable slots (workflow runs) have a queue of their own: a step runs it until
-- it is empty, with one ration for the whole step. The other queue is run in slices.
--
-- S.wake(slot, task, value, ok)      let a task that waits go on; ok is never nil
-- S.check_wait()                     raises where a task cannot wait; comes before it registers with anything
-- S.block() -> value, ok             wait for something from outside the slot
-- S.block_on_own() -> value, ok      wait for the slot's own tasks; the feeder lowers slot.blocked
-- S.start_main(slot, arguments, count)   make the slot's first task
-- S.spawn_task(f)                    coroutine.spawn
-- S.run_slice(budget) -> more        S.run_step(slot)
local S = ...
local close, isyieldable, resume, yield = coroutine.close, coroutine.isyieldable, coroutine.resume, coroutine.yield
local error, pairs, pcall, xpcall = error, pairs, pcall, xpcall
local getinfo, huge = debug.getinfo, math.huge
local new_coroutine, FUEL = S.new_coroutine, S.fuel

local OUT_OF_MEMORY <const> = "not enough memory"
local WEIGHT <const> = 500 -- instructions that count as one turn of a slice
local POOLED <const> = 256 -- coroutines kept for the next main

local BLOCK, OVER = {}, {} -- marks of a yield: the task waits; its main has returned
S.BLOCK = BLOCK
S.co = nil -- the task that runs

-- Four entries a wake: task, slot, value, ok. What is pushed while `batch` runs waits in `items`.
local function new_queue() return { items = {}, n = 0, batch = {}, at = 1, count = 0 } end
local ready, durable_ready = new_queue(), new_queue()

function S.queue_of(durable) return durable and durable_ready or ready end

function S.wake(slot, task, value, ok)
  local queue = slot.queue
  local items, n = queue.items, queue.n
  items[n + 1], items[n + 2], items[n + 3], items[n + 4] = task, slot, value, ok
  queue.n = n + 4
end
local wake = S.wake

-- Waiting -----------------------------------------------------------------------------------------

-- What may stand in the way of a yield, by function.
local names = { [tostring] = "tostring", [ipairs] = "ipairs", [load] = "load" }
for library, functions in pairs({ string = string, table = table, coroutine = coroutine }) do
  for name, f in pairs(functions) do names[f] = library .. "." .. name end
end

function S.cannot_wait()
  local obstacle = "a C function"
  for level = 2, 200 do
    local info = getinfo(level, "Snf")
    if not info then break end
    if info.what == "C" and info.func ~= pcall and info.func ~= xpcall then
      obstacle = names[info.func] or info.name or obstacle
      break
    end
  end
  return S.raise("Invalid", "cannot wait inside " .. obstacle .. ": it runs in C, which cannot be suspended")
end
local cannot_wait = S.cannot_wait

-- Set while a coroutine runs under a C function, for the coroutines that it resumes.
S.stuck = false

function S.check_wait()
  if S.stuck or not isyieldable() then cannot_wait() end
end

function S.block() return yield(BLOCK) end

function S.block_on_own()
  local slot = S.current
  local blocked = slot.blocked + 1
  slot.blocked = blocked
  if blocked == slot.tasks then slot.deadlocked = true end
  return yield(BLOCK)
end

-- Tasks -------------------------------------------------------------------------------------------

-- Mains run in coroutines that serve one slot after the other: nothing of an ended slot can hold one.
local pool, pooled = {}, 0

local function main(arguments, count)
  while true do
    arguments, count = yield(OVER, S.current.proto.start(arguments, count))
  end
end

function S.start_main(slot, arguments, count)
  local co
  if pooled > 0 then
    co = pool[pooled]
    pool[pooled] = nil
    pooled = pooled - 1
  else
    co = new_coroutine(main)
  end
  slot.main = co
  slot.tasks, slot.blocked = 1, 0
  wake(slot, co, arguments, count)
end

-- The new task runs first, the running one right after it.
local spawned

function S.spawn_task(f)
  local slot = S.current
  local co = new_coroutine(f)
  local others = slot.others
  if not others then
    others = { made = 0 }
    slot.others = others
  end
  others.made = others.made + 1
  others[co] = others.made
  slot.tasks = slot.tasks + 1
  if isyieldable() and not S.stuck then
    spawned = co
    yield(BLOCK)
  else
    wake(slot, co, nil, true)
  end
end

-- True for a coroutine that only the scheduler may resume.
function S.is_task(co)
  local slot = S.current
  return co == slot.main or (slot.others and slot.others[co] ~= nil) or (slot.inner and slot.inner[co]) or false
end

-- Name of a task of the running slot, by default of the one that runs.
function S.thread_name(co)
  local slot = S.current
  local number = slot and slot.others and slot.others[co or S.co]
  return number and "coroutine " .. number or "main"
end

-- Ends --------------------------------------------------------------------------------------------

-- Errors that end a slot: what was raised, where.
local function failure(slot, co, value)
  S.stuck = false
  local trace = S.trace_of(co)
  if value == OUT_OF_MEMORY then
    -- In the middle of an operation on several slots nobody knows how far it came.
    if S.busy then error(OUT_OF_MEMORY, 0) end
    slot.killed = slot.killed or "out of memory: its VM is full"
  elseif not slot.killed then
    close(co) -- runs what is to be closed; still under the hook
  end
  if slot.killed then return S.new_error("Internal", "process killed: " .. slot.killed, false, nil, nil, trace) end
  return S.to_error(value, trace)
end

local function task_over(slot, co, ok, value, err)
  if not ok then
    S.finish(slot, false, failure(slot, co, value))
  elseif co == slot.main then
    if pooled < POOLED then
      pooled = pooled + 1
      pool[pooled] = co
    end
    if err then
      S.finish(slot, false, S.to_error(err))
    else
      S.finish(slot, true, value)
    end
  else
    slot.tasks = slot.tasks - 1
    slot.others[co] = nil
    if slot.blocked == slot.tasks then slot.deadlocked = true end
  end
end

-- The rest of a turn in which something else happened than that its task waits.
local function go_on(slot, co, ok, mark, value, err)
  local spawners, depth = nil, 0 -- go on when what they spawned waits or is over
  while true do
    if spawned then
      spawners, depth = spawners or {}, depth + 1
      spawners[depth] = co
      co, spawned = spawned, nil
    else
      if mark == OVER then
        task_over(slot, co, true, value, err)
      elseif mark ~= BLOCK then
        task_over(slot, co, ok, mark)
      end
      if depth == 0 or slot.dead then break end
      co = spawners[depth]
      spawners[depth] = nil
      depth = depth - 1
    end
    S.co = co
    ok, mark, value, err = resume(co)
  end
  if slot.deadlocked then
    slot.deadlocked = nil
    if not slot.dead and slot.blocked == slot.tasks then S.finish(slot, false, S.deadlock(slot)) end
  end
end

-- Run turns of a queue until it is empty or `budget` is spent; true when something is left. Every turn
-- gets a ration of fuel if `ration`.
local function run(queue, budget, ration)
  local batch, at, count = queue.batch, queue.at, queue.count
  while true do
    if at > count then
      count = queue.n
      if count == 0 then break end
      at, batch, queue.items, queue.n = 1, queue.items, batch, 0
    end
    if budget <= 0 then break end
    local co, slot, a, b = batch[at], batch[at + 1], batch[at + 2], batch[at + 3]
    batch[at], batch[at + 1], batch[at + 2], batch[at + 3] = nil, nil, nil, nil
    at = at + 4
    if not slot.dead then
      S.current, S.co = slot, co
      if ration then slot.fuel = ration end
      local ok, mark, value, err = resume(co, a, b)
      if mark ~= BLOCK or spawned or slot.deadlocked then go_on(slot, co, ok, mark, value, err) end
      if ration then budget = budget - (ration - slot.fuel) // WEIGHT end
    end
    budget = budget - 1
  end
  S.current, S.co = nil, nil
  queue.batch, queue.at, queue.count = batch, at, count
  return at <= count
end

function S.run_slice(budget) return run(ready, budget, FUEL) end

function S.run_step(slot)
  slot.fuel = FUEL
  run(durable_ready, huge, false)
end
