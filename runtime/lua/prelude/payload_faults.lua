-- What is wrong with a value that cannot be encoded or copied: the fast paths only notice that something is,
-- this walk finds the place and the words.
--
-- Needs: objects, errors. S.max_depth, S.max_values: limits of one payload, in nested tables and in values.
-- S.refuse_payload(v): raises an error of kind Invalid that says why v was refused.
-- S.refuse_size(): raises one for too many values.
local S = ...
local own, error_fields, invalid = S.own, S.error_fields, S.invalid
local getmetatable = debug.getmetatable
local format, match = string.format, string.match
local sort = table.sort
local error, next, tostring, type = error, next, tostring, type

local MAX_DEPTH = 100
S.max_depth, S.max_values = MAX_DEPTH, 4000000

local function at_key(path, k)
  if type(k) == "string" and match(k, "^[%a_][%w_]*$") then
    return path .. "." .. k
  end
  return path .. "[" .. (type(k) == "string" and format("%q", k) or tostring(k)) .. "]"
end

local function explain(v, path, depth, above)
  if type(v) ~= "table" then
    return nil
  end
  local mt = getmetatable(v)
  local object = mt and own[mt]
  if object == "error" then
    local _, _, _, details = error_fields(v)
    return explain(details, path .. ":details()", depth, above)
  elseif object then
    return mt.__data and explain(mt.__data(v), path .. ":data()", depth, above)
  elseif above[v] then
    return "cyclic table: " .. path .. " is " .. above[v] .. " again"
  elseif depth == MAX_DEPTH then
    return "nesting deeper than " .. MAX_DEPTH .. " tables"
  end
  above[v] = path
  local places, items = {}, {}
  for k, item in next, v do
    local kind = type(k)
    if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
      return "a table key must be a string, a number or a boolean: " .. path .. " has a " .. (S.own_name(k) or kind) .. " as key"
    elseif type(item) == "table" then
      local place = at_key(path, k)
      places[#places + 1], items[place] = place, item
    end
  end
  sort(places) -- so that every run blames the same place
  for i = 1, #places do
    local problem = explain(items[places[i]], places[i], depth + 1, above)
    if problem then
      return problem
    end
  end
  above[v] = nil
  return nil
end

function S.refuse_payload(v)
  error(invalid(explain(v, "$", 0, {}) or "nesting deeper than " .. MAX_DEPTH .. " tables"), 0)
end

function S.refuse_size()
  error(invalid("more than " .. S.max_values .. " values in one payload"), 0)
end
