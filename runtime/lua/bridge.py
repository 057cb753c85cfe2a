"""The Python functions that the prelude calls (prelude/bridge.lua), and what keeps them harmless.

What a Python function raises would reach Lua as a Python object, which hands user code the whole
interpreter; and a result that does not fit into the VM would end the interpreter, since nothing
protects the push of a result. So each function answers (True, cost, results…) or (False, cost,
kind, message), and answers without a memory limit, which bridge.lua puts back.
"""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from runtime.errors import Kind, PerdureError

logger = logging.getLogger(__name__)

#: Nanoseconds of a CPU that are charged as one Lua instruction.
_INSTRUCTION: Final = 20

#: Top-level package -> the extra of perdure that brings it.
EXTRAS: Final = {"cryptography": "crypto", "jwt": "crypto", "jsonschema": "schema", "re2": "schema"}


def guarded(
    function: Callable[..., Any] | str, lift_limit: Callable[[], None]
) -> Callable[..., Any]:
    """A function as bridge.lua expects it.

    Args:
        function: gets bytes, numbers, booleans and None; returns such, or a tuple of them. One
            given as `module:name` is of runtime.libraries, and imported when it is first called.
        lift_limit: takes the memory limit off the VM.
    """

    def answer(*args: Any) -> tuple[Any, ...]:
        lift_limit()
        began = time.thread_time_ns()
        try:
            if isinstance(function, str):
                found = _imported(function)
                began = time.thread_time_ns()  # the import is not at the expense of who needs it
            else:
                found = function
            result = found(*args)
        except PerdureError as error:
            kind, text = error.kind, error.message
        except Exception as error:
            kind, text = _foreign(error)
        else:
            results = result if isinstance(result, tuple) else (result,)
            return True, _cost(began), *results
        return False, _cost(began), kind.encode(), text.encode(errors="replace")

    return answer


@cache
def _imported(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    function: Callable[..., Any] = getattr(
        importlib.import_module(f"runtime.libraries.{module}"), name
    )
    return function


def _cost(began: int) -> int:
    return (time.thread_time_ns() - began) // _INSTRUCTION


def _foreign(error: Exception) -> tuple[str, str]:
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        if package in EXTRAS:
            remedy = f'pip install "perdure[{EXTRAS[package]}]"'
            return Kind.UNAVAILABLE, f"the Python package {package} is not installed: {remedy}"
    logger.error("a library failed", exc_info=error)
    return Kind.INTERNAL, f"{type(error).__name__}: {error}"


#: By the names that they have in the prelude's shared table.
FUNCTIONS: Final[dict[str, Callable[..., Any] | str]] = {
    "entropy": os.urandom,
    "erase": "typed_lua:erased",
    "meter": "metered_lua:meter",
    "zone_offset": "zones:offset",
    "digest": "hashes:digest",
    "keyed_digest": "hashes:keyed_digest",
    "pbkdf2": "hashes:pbkdf2",
    "texts_equal": "hashes:texts_equal",
    "base64_encode": "base64_text:encode",
    "base64_decode": "base64_text:decode",
    "yaml_encode": "yaml_text:encode",
    "yaml_decode": "yaml_text:decode",
    "validate_schema": "schemas:validate",
    "encrypt": "ciphers:encrypt",
    "decrypt": "ciphers:decrypt",
    "jwt_sign": "tokens:sign",
    "jwt_verify": "tokens:verify",
}
