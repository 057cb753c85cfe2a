"""What Lua modules leave to Python: each file is a thin face on a library made for the thing.

Functions here are called through runtime.lua.bridge: they take bytes, integers, booleans and None,
and return such; values that have more to them travel as what runtime.codec encodes.
What is wrong with what the user gave is a PerdureError; whatever else is raised reaches the user as
INTERNAL. None of them waits, reads a clock or draws a random number: a workflow hands in what is
recorded. Files that need an extra import its package at their top, and are imported when they are
first used.
"""
