-- A sensor: sends what it measures to the almanac, and ends.
local name, values = ...
for i = 1, #values do
  assert(process.send("almanac", "measured", { sensor = name, celsius = values[i] }))
end
