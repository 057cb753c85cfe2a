"""The limit for payloads: how large one value in a history may be."""

from __future__ import annotations

from typing import Final, NamedTuple

from runtime.codec import encode
from runtime.errors import Kind, PerdureError


class PayloadLimit(NamedTuple):
    """`payload_limit` of a journal.

    Attributes:
        journal: id of its entry.
        size: bytes of a value as it is encoded; 0 for no limit.
    """

    journal: str = ""
    size: int = 0

    def check(self, what: str, payload: bytes) -> None:
        """Raise the PerdureError of `refusal`, if there is one."""
        error = self.refusal(what, payload)
        if error is not None:
            raise error

    def of_result(self, target: str, ok: bool, value: bytes) -> tuple[bool, bytes]:
        """The result of `target` as it may be recorded: itself, or the error for its size."""
        if not 0 < self.size < len(value):
            return ok, value
        return False, encode(self._refusal(f"the result of {target}", value))

    def refusal(self, what: str, payload: bytes) -> PerdureError | None:
        """The error for a payload that is too large: INVALID, not to be retried."""
        return self._refusal(what, payload) if 0 < self.size < len(payload) else None

    def _refusal(self, what: str, payload: bytes) -> PerdureError:
        return PerdureError(
            Kind.INVALID,
            f"{what}: {len(payload)} bytes are more than the payload_limit of {self.journal}, "
            f"{self.size}: keep it elsewhere and pass on where, or raise the limit",
            False,
        )


NO_LIMIT: Final = PayloadLimit()
