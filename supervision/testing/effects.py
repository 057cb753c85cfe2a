"""What functions did, in the test's eyes; and stand-ins for them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any, NamedTuple

from hosts.functions import PythonFunction, PythonFunctions
from hosts.timers import Timers
from runtime.api import ctx


class Effect(NamedTuple):
    """One call of a Python function or of a stand-in.

    Attributes:
        function: its entry id.
        key: `activity.key`, the same on every attempt; None where no workflow called.
        attempt: `activity.attempt`, from 1; None likewise.
    """

    function: str
    args: list[Any]
    key: str | None = None
    attempt: int | None = None


class InTurn(NamedTuple):
    """See `in_turn`."""

    outcomes: tuple[Any, ...]


def in_turn(*outcomes: Any) -> InTurn:
    """A stand-in whose first call has the first of these outcomes, and so on; the last one stays.

    An exception is raised, a function is called, anything else is returned.
    """
    return InTurn(outcomes)


class StandIns:
    """The functions that a test answers for, and what was asked of them and of the real ones."""

    def __init__(self, functions: Mapping[str, Any]) -> None:
        self.functions = dict(functions)
        self.effects: list[Effect] = []
        self._calls: dict[str, int] = {}

    def note(self, effect: Effect) -> None:
        """A function is about to do something."""
        self.effects.append(copy.deepcopy(effect))

    def perform(self, entry_id: str, *args: Any) -> Any:
        """Answer for a function, in the context of its call."""
        self.note(noted(entry_id, args))
        stand_in = self.functions[entry_id]
        if isinstance(stand_in, InTurn):
            number = self._calls.get(entry_id, 0)
            self._calls[entry_id] = number + 1
            stand_in = stand_in.outcomes[min(number, len(stand_in.outcomes) - 1)]
        if isinstance(stand_in, BaseException):
            raise stand_in
        return stand_in(*args) if callable(stand_in) else stand_in


class TestedFunctions(PythonFunctions):
    """Calls stand-ins, and the real functions once their calls are noted.

    Args:
        stand_ins: ids of the functions that `perform` answers for.
        note: told of each call of another one, before it runs.
    """

    def __init__(
        self,
        folder: Path,
        timers: Timers,
        stand_ins: Iterable[str],
        perform: Callable[..., Any],
        note: Callable[[Effect], None],
    ) -> None:
        super().__init__(folder, timers)
        self._stand_ins = frozenset(stand_ins)
        self._perform = perform
        self._note = note

    def prepare(
        self, entry_id: str, target: str, pool: Mapping[str, Any] | None = None
    ) -> PythonFunction:
        if entry_id in self._stand_ins:
            return PythonFunction(partial(self._perform, entry_id))
        found = super().prepare(entry_id, target, pool)
        # In this process, whatever its pool: a call of a child process would not be noted.
        return found._replace(function=self._noting(entry_id, found.function), in_process="")

    def _noting(self, entry_id: str, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def call_async(*args: Any) -> Any:
                self._note(noted(entry_id, args))
                return await function(*args)

            return call_async

        @wraps(function)
        def call(*args: Any) -> Any:
            self._note(noted(entry_id, args))
            return function(*args)

        return call


def noted(entry_id: str, args: Sequence[Any]) -> Effect:
    """The call that is under way."""
    return Effect(entry_id, list(args), ctx.get("activity.key"), ctx.get("activity.attempt"))
