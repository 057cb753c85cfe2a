"""The crash harness: the promises against kills, disks, clocks and planted bugs.

A short form runs with the suite; `pytest tests/crash -m soak` is the long one.
"""
