-- Where coroutines stand in user code: traces of failures, and what a deadlocked slot waits for.
--
-- S.trace_of(co) -> text      as S.trace (see errors.lua), of a coroutine that is dead or waits
-- S.deadlock(slot) -> error   names what each task of the slot waits for
-- S.waits[function] = text    what a task does whose stack has this function of the prelude
local S = ...
local getinfo = debug.getinfo
local concat, sort, sub = table.concat, table.sort, string.sub
local pairs = pairs

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
