"""A Lua state with some prelude files and nothing else, for tests of those files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lupa.lua54

import runtime.lua.prelude

PRELUDE = Path(runtime.lua.prelude.__path__[0])

#: The files of the codec, to be loaded after objects and errors.
CODEC = ("payload_faults", "codec", "copy", "decode")


class Lab:
    """Loads prelude files with a shared table `S`, and runs Lua that sees it and their modules.

    Files that return a module are globals of that name for `run`.
    """

    def __init__(self, *files: str, **hooks: Callable[..., Any]) -> None:
        self.lua = lupa.lua54.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self.shared = self.lua.table()
        for name, hook in hooks.items():
            self.shared[name.encode()] = hook
        self.lua.globals()[b"S"] = self.shared
        for file in files:
            self.load(file)

    def load(self, file: str) -> None:
        load = self.lua.eval("function(code, name, S) return assert(load(code, name, 't'))(S) end")
        source = (PRELUDE / f"{file}.lua").read_bytes()
        module = load(source, f"=perdure:{file}.lua".encode(), self.shared)
        if module is not None:
            self.lua.globals()[file.encode()] = module

    def run(self, code: str, *args: Any) -> Any:
        """Run a chunk with arguments; strings come back as bytes, several results as a tuple."""
        chunk = self.lua.eval("function(code) return assert(load(code, '=test')) end")(
            code.encode()
        )
        return chunk(*args)
