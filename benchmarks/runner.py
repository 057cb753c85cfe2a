"""Running a benchmark: a folder of its own, warm-up, rounds, and what they come to."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

from benchmarks.figures import Benchmark, Result, result


def run(benchmark: Benchmark, folder: Path, *, quick: bool) -> list[Result]:
    """Measure all figures of a benchmark, in a folder under `folder` that is removed afterwards.

    With `quick` the size is tiny and there is one round: it shows that the benchmark works, and
    its figures mean nothing.
    """
    size = benchmark.quick if quick else benchmark.full
    warmup, count = (0, 1) if quick else (benchmark.warmup, benchmark.rounds)
    rounds = []
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".benchmark-") as own,
        benchmark.prepare(size, Path(own)) as measure,
    ):
        for number in range(warmup + count):
            gc.collect()
            values = measure()
            if number >= warmup:
                rounds.append(values)
    return [result(benchmark.name, each, rounds, full=not quick) for each in benchmark.figures]
