-- The report: asks the almanac, and has its answer drawn. Returns the text.
local funcs = require("funcs")

assert(process.send("almanac", "summary?"))
local summary = process.inbox():receive():payload():data()

local text, err = funcs.call("app:table", summary)
return text, err
