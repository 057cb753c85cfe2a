-- Where coroutines stand in user code: traces of failures, what a deadlocked slot waits for, what kept a wait from
-- happening.
--
-- S.trace_of(co) -> text      as S.trace (see errors.lua), of a coroutine that is dead or waits
-- S.user_line() -> text       "file:line" where user code called into the runtime, "?" if nowhere
-- S.deadlock(slot) -> error   names what each task of the slot waits for
-- S.waits[function] = text    what a task does whose stack has this function of the prelude
-- S.explain(value, co) -> value   what was raised in `co` (default: the running coroutine, from an error handler); Lua's words
--     for a yield that is not possible become an error which names the C function that stands in the way
local S = ...
local getinfo = debug.getinfo
local concat, sort, sub = table.concat, table.sort, string.sub
local pairs, pcall, xpcall, yield = pairs, pcall, xpcall, coroutine.yield

local MAX_FRAMES <const> = 32

S.waits = {}

local function is_ours(info) return info.what == "C" or sub(info.source, 1, 9) == "=perdure:" end

local function name_of(info) return info.name or (info.linedefined == 1 and "main chunk") or "?" end

function S.trace_of(co)
  local lines = { "thread " .. S.thread_name(co) }
  local level = 0
  local info = getinfo(co, level, "Sln")
  while info and #lines <= MAX_FRAMES do
    if not is_ours(info) then
      lines[#lines + 1] = info.short_src .. ":" .. info.currentline .. ": in " .. name_of(info)
    end
    level = level + 1
    info = getinfo(co, level, "Sln")
  end
  return concat(lines, "\n")
end

function S.user_line()
  for level = 2, 200 do
    local info = getinfo(level, "Sl")
    if not info then break end
    if not is_ours(info) then return info.short_src .. ":" .. info.currentline end
  end
  return "?"
end

local function describe(co)
  local what = "waits"
  for level = 0, 200 do
    local info = getinfo(co, level, "Slf")
    if not info then break end
    if not is_ours(info) then return what .. " at " .. info.short_src .. ":" .. info.currentline end
    what = S.waits[info.func] or what
  end
  return what
end

function S.deadlock(slot)
  local waits, others = { "main " .. describe(slot.main) }, {}
  for co in pairs(slot.others or {}) do
    if co ~= "made" then others[#others + 1] = co end
  end
  sort(others, function(a, b) return slot.others[a] < slot.others[b] end)
  for i = 1, #others do
    waits[i + 1] = "coroutine " .. slot.others[others[i]] .. " " .. describe(others[i])
  end
  return S.new_error("Internal", "deadlock: " .. concat(waits, "; "))
end

local CANNOT_YIELD <const> = "attempt to yield across a C-call boundary"

-- Functions in C that call back into Lua, by the name they have for users.
local names = { [tostring] = "tostring", [ipairs({})] = "ipairs" }
for library, functions in pairs({ string = string, table = table }) do
  for name, f in pairs(functions) do names[f] = library .. "." .. name end
end

local function obstacle(co)
  for level = 0, 200 do
    local info
    if co then info = getinfo(co, level, "Snf") else info = getinfo(level + 2, "Snf") end
    if not info then break end
    local f = info.func
    if info.what == "C" and f ~= yield and f ~= pcall and f ~= xpcall then return names[f] or info.name or "a C function" end
  end
  return "a C function"
end

function S.explain(value, co)
  if value ~= CANNOT_YIELD then return value end
  local message = "cannot wait inside " .. obstacle(co) .. ": it runs in C, which cannot be suspended"
  return S.new_error("Invalid", message, nil, nil, nil, co and S.trace_of(co) or S.trace(2))
end
