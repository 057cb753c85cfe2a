"""Replay: rebuilding a workflow with a long history, from the journal and through the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import nodes
from benchmarks.figures import Benchmark, Figure, Goal, Round
from journal.store import Store
from runtime.config.loader import load
from supervision.trial import new_trial, reading

_APPLICATION: Final = """
  - {name: journal, kind: journal.lmdb, path: ./journal}
  - {name: host, kind: workflow.host, journal: "bench:journal", workers: 1}
  - {name: add, kind: function.lua, source: "local a, b = ...; return a + b"}
  - name: long
    kind: workflow.lua
    modules: [funcs, workflow]
    source: |
      local records = ...
      local sum = 0
      while workflow.history_length() < records do
        sum = assert(funcs.call("bench:add", sum, 1))
      end
      process.send(process.inbox():receive():from(), "done")
      process.inbox():receive()
"""

_REPLAYED: Final = "a history of 10 k records"


@contextmanager
def _prepare(size: int, folder: Path) -> Iterator[Callable[[], Round]]:
    """Size: records; the figure is scaled to 10 k."""
    home = nodes.write(folder, _APPLICATION)
    with nodes.started(home) as node:
        node.actor(node.spawn("bench:long", "bench:host", size)).ask("done?")

    trial = new_trial(load(str(home)).registry)

    def measure(store: Store) -> Round:
        (number, row), *_ = store.runs(on_bad=lambda error: None)
        count = store.last_seq(number)
        begin = time.perf_counter()
        verdict = trial.run(row, lambda: store.records(number))
        seconds = time.perf_counter() - begin
        if not verdict.fits:
            raise RuntimeError(str(verdict))
        return {_REPLAYED: seconds / count * 10_000 * 1e3}

    with reading(home / "journal") as store:
        yield lambda: measure(store)


REPLAY: Final = Benchmark(
    "replay",
    (Figure(_REPLAYED, "ms", goal=Goal(60, at_least=False)),),
    full=10_000,
    quick=100,
    prepare=_prepare,
)
