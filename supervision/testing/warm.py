"""Imported by the process that children are forked from: what each of them would do anew.

The first VM of a process compiles the prelude, which takes longer than all the rest of a boot.
"""

from runtime.clock import SystemClock
from runtime.lua.machine import Machine

Machine("warm", "{warm|", SystemClock())
