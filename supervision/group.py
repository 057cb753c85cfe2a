"""A supervisor in the tree: a child of its own supervisor, and the order among its children.

It starts by starting its children, from left to right, and stops by stopping them, from right to
left. In between it counts their crashes, has siblings restarted as its strategy says, and fails
when they are too many: its own supervisor then does with it as with any child that crashed.

The order is kept in two sorted lists of places. They may name children that are where they should
be by now: those are dropped when they come to be first or last.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence

from runtime.errors import Kind, PerdureError
from supervision.child import Child, Means
from supervision.messages import Goal, Verb
from supervision.policy import others, too_many
from supervision.service import Family, ServiceSpec, Strategy
from supervision.state import State


class Group(Child):
    """A service with a family."""

    def __init__(self, spec: ServiceSpec, means: Means) -> None:
        super().__init__(spec, None, means)
        #: From left to right; set by the tree.
        self.children: Sequence[Child] = ()
        self._arriving: list[int] = []  # places of children that are to come up
        self._departing: list[int] = []  # places of children that are to go down
        self._came_up: set[Child] = set()  # since its start began
        self._crashes: deque[int] = deque()  # times of those that count

    @property
    def family(self) -> Family:
        assert self.spec.family is not None
        return self.spec.family

    @property
    def open(self) -> bool:
        """Its children may be up."""
        return self.state in (State.STARTING, State.RUNNING)

    def descendants(self) -> Iterator[Child]:
        """All below it; each supervisor before its children."""
        for child in self.children:
            yield child
            if isinstance(child, Group):
                yield from child.descendants()

    def adopt(self, children: Sequence[Child]) -> None:
        """Take these as its children."""
        self.children = children
        self._came_up &= set(children)
        self._arriving, self._departing = [], []
        for place, child in enumerate(children):
            child.parent, child.place = self, place
            self.expect(child)

    def unfinished(self) -> list[Child]:
        """What its own start or stop waits for."""
        return [each for each in (self.first_to_come(), self.last_to_go()) if each is not None]

    # The order among the children -----------------------------------------------------------------

    def expect(self, child: Child) -> None:
        """Note that a child's goal or state has changed."""
        if child.leaving:
            _add(self._departing, child.place)
        if child.up:
            self._came_up.add(child)
        if not self._passed(child):
            _add(self._arriving, child.place)
        self._means.touched(self)

    def holding_back(self, child: Child) -> Iterator[Child]:
        """Which of its family keeps a child that could start from starting."""
        if not self.open:
            yield self
        elif self._in_order or self.state is State.STARTING:
            first, last = self.first_to_come(), self.last_to_go()
            if last is not None:
                yield last
            elif first is not None and first.place < child.place:
                yield first

    def lets_go(self, child: Child) -> bool:
        """Whether a child that leaves may stop now."""
        if self.goal is not Goal.UP and self.open:
            return False  # its own stop comes first, when nothing needs it any more
        return self.last_to_go() is child

    def first_to_come(self) -> Child | None:
        """The leftmost child that is to come up, and is not up."""
        arriving = self._arriving
        while arriving:
            child = self.children[arriving[0]]
            if not self._passed(child):
                return child
            del arriving[0]
        return None

    def last_to_go(self) -> Child | None:
        """The rightmost child that is to go down, and is not down."""
        departing = self._departing
        while departing:
            child = self.children[departing[-1]]
            if child.leaving:
                return child
            departing.pop()
        return None

    @property
    def _in_order(self) -> bool:
        """Children start one after the other at all times, not only with their supervisor."""
        return self.family.strategy is not Strategy.ONE_FOR_ONE

    def _passed(self, child: Child) -> bool:
        """Siblings to its right need not wait for it.

        Under one_for_one they wait for it to come up once: who crashes on and on holds up nobody.
        """
        return child.passed or (not self._in_order and child in self._came_up)

    # What it hears --------------------------------------------------------------------------------

    def on_crash(self, child: Child, reason: PerdureError) -> None:
        """A child crashed and would be started again."""
        if not self.open:
            return
        family, now = self.family, self._means.timers.clock.monotonic()
        if too_many(self._crashes, now, family.restarts, family.period):
            text = (
                f"{self.spec.id} gave up: its children crashed {len(self._crashes)} times within "
                f"{family.period / 1e9:g}s (intensity); the last was {child.spec.id}: {reason}"
            )
            self._give_up(PerdureError(Kind.UNAVAILABLE, text, True))
            return
        for sibling in others(family.strategy, self.children, child.place):
            if sibling.active and sibling.goal is Goal.UP:
                sibling.aim(Goal.RESTART)

    def advance(self) -> list[Child]:
        """Note that its start or stop is done; the children whose turn it is now."""
        if self.state is State.STARTING and self.first_to_come() is None:
            self.on_returned("start", None)
        elif self.state is State.STOPPING and self.last_to_go() is None:
            self.on_returned("stop", None)
        return self.unfinished()

    def _begin(self, verb: Verb) -> None:
        self._calls = {verb}
        self._crashes.clear()
        if verb == "start":
            self._came_up.clear()
            for child in self.children:
                child.forgive()
                child.aim(Goal.UP)
        else:
            for child in self.descendants():
                child.aim(Goal.DOWN)


def _add(places: list[int], place: int) -> None:
    """Add to a sorted list, once."""
    index = bisect_left(places, place)
    if index == len(places) or places[index] != place:
        places.insert(index, place)
