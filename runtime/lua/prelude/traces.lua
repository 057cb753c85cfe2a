-- Where coroutines stand in user code: traces of failures, what a deadlocked slot waits for, what kept a wait from
-- happening.
--
-- S.trace_of(co) -> text      as S.trace (see errors.lua), of a coroutine that is dead or waits
-- S.user_line() -> text       "file:line" where user code called into the runtime, "?" if nowhere
-- S.deadlock(slot) -> error   names what each task of the slot waits for
-- S.waits[function] = text    what a task does whose stack has this function of the prelude
-- S.explain(value, co) -> value   what was raised in `co` (default: the running coroutine, from an error handler), as it
--     looks to users: a text about arguments names the function and the line of their call, not ours; Lua's
--     words for a yield that is not possible become an error which names what stands in the way
local S = ...
local getinfo = debug.getinfo
local concat, sort = table.concat, table.sort
local find, gsub, match, sub = string.find, string.gsub, string.match, string.sub
local error, pairs, pcall, type, xpcall, yield = error, pairs, pcall, type, xpcall, coroutine.yield

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

local CANNOT_YIELD <const> = "attempt to yield across a C-call boundary"

-- Functions in C that raise or call back into Lua, by the name they have for users.
local names = { [error] = "error", [tostring] = "tostring", [setmetatable] = "setmetatable", [ipairs({})] = "ipairs", [next] = "next" }
for library, functions in pairs({ string = string, table = table, utf8 = utf8, os = os }) do
  for name, f in pairs(functions) do names[f] = library .. "." .. name end
end

-- The innermost function in C, by its name for users.
local function name_of_c(co)
  for level = 0, 200 do
    local info
    if co then info = getinfo(co, level, "Snf") else info = getinfo(level + 2, "Snf") end
    if not info then break end
    local f = info.func
    if info.what == "C" and f ~= yield and f ~= pcall and f ~= xpcall then
      return names[f] or info.name or "a C function"
    end
  end
  return "a C function"
end

local function line_of_user(co)
  for level = 0, 200 do
    local info
    if co then info = getinfo(co, level, "Sl") else info = getinfo(level + 2, "Sl") end
    if not info then break end
    if not is_ours(info) then return info.short_src .. ":" .. info.currentline end
  end
  return "?"
end

function S.user_line() return line_of_user() end

function S.explain(value, co)
  if type(value) ~= "string" then return value end
  if value == CANNOT_YIELD then
    local message = "cannot wait inside " .. name_of_c(co) .. ": it runs in C, which cannot be suspended"
    return S.new_error("Invalid", message, nil, nil, nil, co and S.trace_of(co) or S.trace(2))
  end
  local text = match(value, "^perdure:[^:]*:%d+: (.*)")
  if not text or find(text, "^attempt to ") then return value end
  local name = match(name_of_c(co), "[^.]*$")
  if name ~= "error" then -- raised by C, which knows the name of our local
    text = gsub(text, "^(bad argument #%d+ to )'[^']*'", function(start) return start .. "'" .. name .. "'" end)
  end
  return line_of_user(co) .. ": " .. text
end
