"""Where the figures come from: machine, versions, load, file system."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

#: What a figure depends on, beside Perdure itself.
_LIBRARIES: Final = ("lupa", "pykka", "lmdb", "msgpack")

#: Processes that wait for a core, by core, from which on figures say more of others than of us.
_BUSY: Final = 0.25

#: File systems whose fsync writes nothing.
_VOLATILE: Final = frozenset({"tmpfs", "ramfs"})


def surroundings(folder: Path) -> dict[str, Any]:
    """Facts by name; `folder` is where journals are written."""
    return {
        "cores": os.cpu_count() or 1,
        "machine": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": {name: version(name) for name in _LIBRARIES},
        "load": [round(each, 2) for each in os.getloadavg()],
        "folder": str(folder),
        "file system": file_system(folder),
    }


def warnings(facts: dict[str, Any]) -> list[str]:
    """What makes the figures of such surroundings doubtful."""
    found = []
    if facts["load"][0] > _BUSY * facts["cores"]:
        found.append(
            f"the load average is {facts['load'][0]} on {facts['cores']} cores: "
            "others were at work, so repeat this on an idle machine before you believe a figure"
        )
    if facts["file system"] in _VOLATILE:
        found.append(
            f"{facts['folder']} is on {facts['file system']}, where fsync writes nothing: "
            "name a folder on a disk with --folder"
        )
    return found


def file_system(folder: Path) -> str:
    """Type of the file system that `folder` is on, "unknown" where the system does not say."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return "unknown"
    mounts = [line.split()[1:3] for line in lines]
    holding = [
        (len(place), kind) for place, kind in mounts if folder.resolve().is_relative_to(place)
    ]
    return max(holding, key=lambda each: each[0], default=(0, "unknown"))[1]
