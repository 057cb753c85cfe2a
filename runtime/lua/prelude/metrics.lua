-- The module `metrics`: counters, gauges and histograms of the node. Nothing waits for them, no history keeps them,
-- and a replay counts nothing.
local S = ...
local next, type = next, type
local find, math_type, sub = string.find, math.type, string.sub
local huge = math.huge

local LABEL = { string = true, number = true, boolean = true }

local function check_labels(where, labels)
  if type(labels) ~= "table" or S.own_name(labels) then return S.bad_argument(where, "labels", "a table", labels) end
  for name, value in next, labels do
    if type(name) ~= "string" or not find(name, "^[%a_][%w_]*$") or sub(name, 1, 2) == "__" or name == "le" then
      return S.bad_argument(where, "a label", "named by letters, digits and _, and not le", name)
    end
    if not LABEL[type(value)] then
      return S.bad_argument(where, 'label "' .. name .. '"', "a text, number or boolean", value)
    end
  end
end

local function check(where, name, value, labels)
  if type(name) ~= "string" or not find(name, "^[%a_:][%w_:]*$") then
    return S.bad_argument(where, "name", "letters, digits, _ and :", name)
  end
  if find(name, "^perdure_") then
    return S.new_error("Invalid", where .. ': "' .. name .. '": names that begin with perdure_ are the node\'s own')
  end
  if not math_type(value) or value ~= value or value == huge or value == -huge then
    return S.bad_argument(where, "value", "a finite number", value)
  end
  return labels ~= nil and check_labels(where, labels) or nil
end

local function measure(where, verb, name, value, labels)
  where = "metrics." .. where
  local wrong = check(where, name, value, labels)
  if not wrong and verb == "counter" and value < 0 then wrong = S.bad_argument(where, "value", "0 or more", value) end
  if wrong then return nil, wrong end
  if S.current.replaying then return true end
  return S.tell("metrics", verb, name, value, labels)
end

S.modules.metrics = {
  counter_inc = function(name, labels) return measure("counter_inc", "counter", name, 1, labels) end,
  counter_add = function(name, value, labels) return measure("counter_add", "counter", name, value, labels) end,
  gauge_set = function(name, value, labels) return measure("gauge_set", "gauge_set", name, value, labels) end,
  gauge_inc = function(name, labels) return measure("gauge_inc", "gauge_add", name, 1, labels) end,
  gauge_dec = function(name, labels) return measure("gauge_dec", "gauge_add", name, -1, labels) end,
  histogram = function(name, value, labels) return measure("histogram", "histogram", name, value, labels) end,
}
