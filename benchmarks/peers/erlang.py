"""Erlang/OTP, by a script of ours: `escript benchmarks/peers/actors.escript WORKLOAD NUMBER…`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final, cast

from benchmarks.figures import Peer

ERLANG: Final = Peer(
    "Erlang/OTP",
    "its processes run on all cores, ours of one VM on one",
    "apt-get install erlang-base",
    lambda: shutil.which("escript") is not None,
)

_SCRIPT: Final = Path(__file__).with_name("actors.escript")


def measure(workload: str, *numbers: int) -> dict[str, float]:
    """What the script prints for a workload; {} where Erlang is not installed."""
    if not ERLANG.present():
        return {}
    command = ["escript", str(_SCRIPT), workload, *map(str, numbers)]
    return cast(dict[str, float], json.loads(subprocess.check_output(command, timeout=300)))
