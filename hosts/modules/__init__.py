"""What Lua modules ask of the node: a file for each module."""
