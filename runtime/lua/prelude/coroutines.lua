-- What user code gets as pcall, xpcall and the library `coroutine`: a kill passes through them, and a wait inside
-- a coroutine that user code resumes is a wait of the task around it.
local S = ...
local raw_xpcall, error, select, type = xpcall, error, select, type
local close, isyieldable, resume, running = coroutine.close, coroutine.isyieldable, coroutine.resume, coroutine.running
local status, yield, unpack = coroutine.status, coroutine.yield, table.unpack
local BLOCK, passed, new_coroutine = S.BLOCK, S.passed, S.new_coroutine

local explain = S.explain

function S.pcall(f, ...) return passed(raw_xpcall(f, explain, ...)) end

function S.xpcall(f, handler, ...)
  return passed(raw_xpcall(f, function(err)
    -- Handlers run where the error was raised, and see it: a kill is not for them.
    if S.current.killed then return nil end
    return handler(explain(err))
  end, ...))
end

-- What a coroutine inside the task waits for wakes the task.
local function wait_for(co, wait, x, y)
  local slot = S.current
  local inner = slot.inner
  if not inner then
    inner = {}
    slot.inner = inner
  end
  inner[co] = true
  local value, ok = yield(BLOCK, wait, x, y)
  inner[co] = nil
  return value, ok
end

local function relay(co, ok, mark, ...)
  if ok then
    if mark == BLOCK then return relay(co, resume(co, wait_for(co, ...))) end
    return true, mark, ...
  end
  return passed(false, explain(mark, co))
end

local function check_function(where, f)
  if type(f) ~= "function" then
    error("bad argument #1 to '" .. where .. "' (function expected, got " .. (S.own_name(f) or type(f)) .. ")", 3)
  end
end

local function results_of(co, ok, ...)
  if ok then return ... end
  passed(close(co)) -- what is to be closed
  return error((...), 0)
end

S.coroutine_library = {
  create = function(f)
    check_function("create", f)
    return new_coroutine(f)
  end,
  wrap = function(f)
    check_function("wrap", f)
    local co = new_coroutine(f)
    return function(...) return results_of(co, relay(co, resume(co, ...))) end
  end,
  resume = function(co, ...)
    if type(co) == "thread" and S.is_task(co) then return false, "cannot resume a coroutine that the runtime resumes" end
    return relay(co, resume(co, ...))
  end,
  close = function(co)
    if type(co) == "thread" and S.is_task(co) then error("cannot close a coroutine that the runtime resumes", 2) end
    return passed(close(co))
  end,
  yield = function(...)
    if running() == S.co then error("attempt to yield from outside a coroutine", 2) end
    return yield(...)
  end,
  isyieldable = function() return running() ~= S.co and isyieldable() end,
  running = function()
    local co = running()
    return co, co == S.co
  end,
  status = status,
  spawn = function(f, ...)
    check_function("spawn", f)
    if select("#", ...) == 0 then return S.spawn_task(f) end
    local arguments, count = { ... }, select("#", ...)
    return S.spawn_task(function() return f(unpack(arguments, 1, count)) end)
  end,
}
