"""The Lua machine: see `machine`."""
