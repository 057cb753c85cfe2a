"""The Python side of the weather stations."""
