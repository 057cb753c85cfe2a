"""The one error that user code sees, and its kinds.

PerdureError        what a function, process or workflow of the user's failed with, or what the
                    runtime answered: it keeps kind, message, retryable and details across calls,
                    processes, workflows and the journal
└── ConfigurationError (runtime.config.problems)   the application's YAML is wrong; exit code 2

The kinds are those of the Lua surface (`errors.NOT_FOUND` and so on).
"""

from __future__ import annotations

from typing import Any, Final


class Kind:
    """Error kinds as they travel, and as `err:kind()` shows them."""

    NOT_FOUND: Final = "NotFound"
    ALREADY_EXISTS: Final = "AlreadyExists"
    INVALID: Final = "Invalid"
    PERMISSION_DENIED: Final = "PermissionDenied"
    UNAVAILABLE: Final = "Unavailable"
    INTERNAL: Final = "Internal"
    CANCELED: Final = "Canceled"
    CONFLICT: Final = "Conflict"
    TIMEOUT: Final = "Timeout"
    RATE_LIMITED: Final = "RateLimited"
    UNKNOWN: Final = ""


class PerdureError(Exception):
    """An error with a kind.

    Args:
        kind: one of `Kind`.
        message: what happened, for a person.
        retryable: True or False where the raiser knows, else None.
        details: plain data (what the codec can carry) or None.
        context: text that `errors.wrap` put in front of the message, or "".
        trace: Lua or Python traceback of the place it was raised, or "".
    """

    def __init__(
        self,
        kind: str,
        message: str,
        retryable: bool | None = None,
        details: Any = None,
        *,
        context: str = "",
        trace: str = "",
    ) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message
        self.retryable = retryable
        self.details = details
        self.context = context
        self.trace = trace

    def __str__(self) -> str:
        text = f"{self.context}: {self.message}" if self.context else self.message
        return f"{self.kind}: {text}" if self.kind else text

    def __eq__(self, other: object) -> bool:
        """Equal when they say the same; where they were raised does not matter."""
        return isinstance(other, PerdureError) and self._said() == other._said()

    def __hash__(self) -> int:
        return hash((self.kind, self.message))

    def _said(self) -> tuple[Any, ...]:
        return (self.kind, self.message, self.retryable, self.details, self.context)
