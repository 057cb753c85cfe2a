-- The command `perdure run examples/weather demo`.
local io = require("io")

local MEASURED <const> = {
  harbour = { 11.5, 12.0, 14.25 },
  hill = { 7.0, 6.5 },
  tower = { 9.0 },
}

-- One that runs already is as good.
local named = process.with_options({}):with_name("almanac")
assert(named:spawn("app:almanac", "app:processes"))

-- The almanac answers once it has heard that every sensor is done.
local sensors = 0
for name, values in pairs(MEASURED) do
  local pid = assert(process.spawn("app:sensor", "app:processes", name, values))
  assert(process.send("almanac", "watch", pid))
  sensors = sensors + 1
end
process.send("almanac", "tell me", sensors)
process.inbox():receive()

local text, err = process.exec("app:report", "app:workflows")
if not text then return nil, err end
io.print(text)
