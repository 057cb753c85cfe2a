"""What Perdure costs, beside what it could be compared with: `python -m benchmarks`.

A round of a benchmark measures all its series one after the other, its peers among them, so that
whatever else the machine does at that time is in both sides of a ratio.
"""
