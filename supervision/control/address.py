"""The address of a Unix socket, however long its path is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

#: sockaddr_un.sun_path has 108 bytes on Linux (unix(7)) and 104 on the BSDs, the last a zero.
_LONGEST: Final = 100


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """A text that bind(2) and connect(2) take for `path`, within the block.

    A path that is too long is reached through a descriptor of its folder, which needs /proc.

    Raises OSError when the folder of a long path cannot be opened.
    """
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
