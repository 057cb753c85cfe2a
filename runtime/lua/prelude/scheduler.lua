-- The scheduler: tasks, their waits, and the queue of those that are ready.
--
-- A task is a coroutine of a slot (see slots.lua) that the scheduler resumes; coroutines which user code resumes
-- itself are no tasks. A task waits by S.block(wait, x, y), which yields. Then the scheduler calls wait(slot, task,
-- x, y), which registers the task with what it waits for; whoever feeds that calls S.wake, and S.block returns
-- the two values given there. So a task is registered nowhere unless it really waits, and nothing else ever
-- crosses a yield of a task.
--
-- A turn is a task running until it waits. A turn also runs the tasks it spawns, each until it waits,
-- on the same ration of fuel. Durable slots (workflow runs) have a queue of their own: a step runs it until
-- it is empty, with one ration for the whole step. The other queue is run in slices.
--
-- S.block(wait, x, y) -> value, ok
-- S.wake(slot, task, value, ok)      let a task that waits go on; ok is never nil
-- S.count_blocked(slot)              a task waits for the slot's own tasks; the feeder lowers slot.blocked
-- S.start_main(slot, arguments, count)   make the slot's first task
-- S.behind_main(slot, f)     f(slot) is called when that has had its first turn, unless the slot has ended then
-- S.spawn_task(f)                    coroutine.spawn
-- S.is_task(co) -> boolean           whether only the scheduler may resume it
-- S.thread_name(task) -> text        by default of the one that runs
-- S.run_slice(budget) -> more        S.run_step(slot)
local S = ...
local close, resume, yield = coroutine.close, coroutine.resume, coroutine.yield
local error, huge, unpack = error, math.huge, table.unpack
local new_coroutine, FUEL, LOOK_EVERY = S.new_coroutine, S.fuel, S.look_every

local OUT_OF_MEMORY <const> = "not enough memory"
local WEIGHT <const> = 500 -- instructions that count as one turn of a slice
local POOLED <const> = 256 -- coroutines kept for the next main

-- Marks of what a resume gives: the task waits; it has returned. No tables: coroutines also give what user code
-- yields, and a table with an __eq of its own would be equal to whatever it likes.
local function BLOCK() end
local function OVER() end
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

function S.block(wait, x, y) return yield(BLOCK, wait, x, y) end

function S.count_blocked(slot)
  slot.blocked = slot.blocked + 1
  if slot.blocked == slot.tasks then S.finish(slot, false, S.deadlock(slot)) end
end

-- Tasks -------------------------------------------------------------------------------------------

-- Mains run in coroutines that serve one slot after the other: nothing of an ended slot can hold one.
local pool, pooled = {}, 0

local function main(arguments, count)
  while true do
    arguments, count = yield(OVER, S.current.proto.enter()(unpack(arguments, 1, count)))
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

function S.behind_main(slot, f)
  wake(slot, new_coroutine(function() return BLOCK, f end))
end

local spawned -- a task that runs next in this turn, before the one that spawned it goes on

local function wait_for_spawned(_, _, co) spawned = co end

function S.spawn_task(f)
  local slot = S.current
  local co = new_coroutine(function()
    f()
    return OVER
  end)
  local others = slot.others
  if not others then
    others = { made = 0 }
    slot.others = others
  end
  others.made = others.made + 1
  others[co] = others.made
  slot.tasks = slot.tasks + 1
  S.block(wait_for_spawned, co)
end

function S.is_task(co)
  local slot = S.current
  return co == slot.main or (slot.others and slot.others[co] ~= nil) or (slot.inner and slot.inner[co]) or false
end

function S.thread_name(co)
  local slot = S.current
  local number = slot and slot.others and slot.others[co or S.co]
  return number and "coroutine " .. number or "main"
end

-- Ends --------------------------------------------------------------------------------------------

-- What a slot whose task raised `value` ends with.
local function failure(slot, co, value)
  local trace = S.trace_of(co)
  if value == OUT_OF_MEMORY then
    -- In the middle of an operation on several slots nobody knows how far it came.
    if S.busy then error(OUT_OF_MEMORY, 0) end
    slot.killed = slot.killed or "out of memory: its VM is full"
  elseif not slot.killed then
    value = S.to_error(S.explain(value, co), trace)
    close(co) -- runs what is to be closed, still on its fuel
  end
  if slot.overtime then return S.new_error("Timeout", slot.killed, nil, nil, nil, trace) end
  if slot.killed then return S.new_error("Internal", "process killed: " .. slot.killed, false, nil, nil, trace) end
  return value
end

local function task_over(slot, co, ok, mark, value, err)
  if not ok then
    S.finish(slot, false, failure(slot, co, mark))
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
    if slot.blocked == slot.tasks then S.finish(slot, false, S.deadlock(slot)) end
  end
end

-- The rest of a turn whose first task has spawned another.
local function go_on(slot, co)
  local spawners, depth = nil, 0 -- go on when what they spawned waits or is over
  local ok, mark, value, err, y
  while true do
    if spawned then
      spawners, depth = spawners or {}, depth + 1
      spawners[depth] = co
      co, spawned = spawned, nil
    else
      if mark ~= BLOCK then task_over(slot, co, ok, mark, value, err) end
      if depth == 0 or slot.dead then return end
      co = spawners[depth]
      spawners[depth] = nil
      depth = depth - 1
    end
    S.co = co
    ok, mark, value, err, y = resume(co)
    if mark == BLOCK then value(slot, co, err, y) end
  end
end

-- Run turns of a queue until it is empty or `budget` is spent; true when something is left. Every turn
-- gets a ration of fuel if `ration`.
local left = 0 -- the counter of fuel.lua
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
      if ration then slot.fuel, left = ration, LOOK_EVERY end
      local ok, mark, wait, x, y = resume(co, a, b)
      if mark == BLOCK then wait(slot, co, x, y) end
      if spawned then
        go_on(slot, co)
      elseif mark ~= BLOCK then
        task_over(slot, co, ok, mark, wait, x)
      end
      if ration then budget = budget - (ration - slot.fuel + LOOK_EVERY - left) // WEIGHT end
    end
    budget = budget - 1
  end
  S.current, S.co = nil, nil
  queue.batch, queue.at, queue.count = batch, at, count
  return at <= count
end

S.share(run, "left")

function S.run_slice(budget) return run(ready, budget, FUEL) end

function S.run_step(slot)
  S.fuel_up(slot)
  slot.step_due = slot.step_limit and not slot.replaying and S.wall() + slot.step_limit or nil
  run(durable_ready, huge, false)
end
