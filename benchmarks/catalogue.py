"""All benchmarks, in the order of the table; that of a Temporal server where one is installed."""

from __future__ import annotations

from typing import Final

from benchmarks.boot import BOOT
from benchmarks.calls import CALLS
from benchmarks.channels import CHANNELS
from benchmarks.disk import DISK
from benchmarks.dormant import DORMANT
from benchmarks.figures import Benchmark
from benchmarks.idle import IDLE
from benchmarks.links import LINKS
from benchmarks.lua_work import LUA_WORK
from benchmarks.messages import CROSS_VM, FAN_OUT
from benchmarks.peers.durable import TEMPORAL
from benchmarks.recovery import BLOCKED, RECOVERY
from benchmarks.replay import REPLAY
from benchmarks.ring import PING_PONG, RING
from benchmarks.sequential import SEQUENTIAL
from benchmarks.signals import SIGNALS
from benchmarks.supervision import MANY, RESTARTS
from benchmarks.temporal_host import TEMPORAL_HOST
from benchmarks.temporal_steps import TEMPORAL_STEPS
from benchmarks.workflows import EMPTY, ROUND_TRIPS, SIGNALED

ALL: Final[dict[str, Benchmark]] = {
    each.name: each
    for each in (
        PING_PONG,
        RING,
        CROSS_VM,
        FAN_OUT,
        CALLS,
        CHANNELS,
        LINKS,
        LUA_WORK,
        IDLE,
        ROUND_TRIPS,
        SEQUENTIAL,
        EMPTY,
        SIGNALED,
        SIGNALS,
        RECOVERY,
        REPLAY,
        BLOCKED,
        DORMANT,
        DISK,
        BOOT,
        RESTARTS,
        MANY,
        TEMPORAL_STEPS,
        *([TEMPORAL_HOST] if TEMPORAL.present() else []),
    )
}
