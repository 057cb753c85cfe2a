"""The Lua side of the machine; `runtime.lua.machine` lists its files as they load."""
