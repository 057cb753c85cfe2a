"""Percentiles, the same for all who measure a latency."""

from __future__ import annotations

from statistics import quantiles


def percentiles(times: list[float]) -> dict[str, float]:
    """p50 and p99 of at least two values."""
    cuts = quantiles(times, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98]}
