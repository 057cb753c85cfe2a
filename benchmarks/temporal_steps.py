"""Steps of a long run on a Temporal server: each must end in the 2 seconds that the SDK gives it.

What a worker does with a step in its VM; the server has no part in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.figures import Benchmark, Figure, Goal, Round
from runtime import inputs
from runtime.clock import SystemClock
from runtime.codec import encode, encode_args
from runtime.commands import Call
from runtime.lua.machine import Definition, Machine

_PID: Final = "{bench:host|long}"
_ENTRY: Final = "bench:long"
_SOURCE: Final = """
local funcs = require("funcs")
local seen = {}
while true do seen[#seen + 1] = assert(funcs.call("bench:add", #seen, 1)) end
"""

_STEP: Final = "a step with 10 k records behind it"
_LONGEST: Final = "the longest step until then"


@contextmanager
def _prepare(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: records of the run; CPU time."""
    yield lambda: _measure(size)


def _measure(size: int) -> Round:
    machine = Machine("bench:host", "{bench:host|n", SystemClock())
    machine.define({_ENTRY: Definition("workflow.lua", _SOURCE, "long", "", ["funcs"], {}, False)})
    start = inputs.start(
        _PID, _ENTRY, encode_args([]),
        {"process": True, "durable": True, "derived": True, "seed": bytes(32), "info": {}},
    )  # fmt: skip
    taken: list[float] = []
    given = start
    for number in range(size + size // 10):
        began = time.thread_time()
        step = inputs.step(_PID, time.time_ns(), None, [given], 3 * number, 300 * number)
        _, (call,) = machine.step([step])
        taken.append((time.thread_time() - began) * 1e3)
        assert isinstance(call, Call)
        given = inputs.answer(_PID, call.seq, True, encode(number))
    return {_STEP: median(taken[size:]), _LONGEST: max(taken)}


TEMPORAL_STEPS: Final = Benchmark(
    "steps of a long run on a Temporal server",
    (
        Figure(_STEP, "ms", goal=Goal(20, at_least=False)),
        Figure(_LONGEST, "ms", goal=Goal(200, at_least=False)),
    ),
    full=10_000,
    quick=100,
    prepare=_prepare,
)
