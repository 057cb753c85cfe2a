"""Types that Lua sources may carry, taken out before they are compiled: see `erase`."""
