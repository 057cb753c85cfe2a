"""The process host: processes in VMs of Lua, and in Python, whose commands happen at once."""
