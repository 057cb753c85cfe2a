"""The supervision tree: which services there are, how they are tied, and what may begin.

It holds no lock: its actor hands it one thing after the other. Every start and stop that a change
has made possible begins in `settle`. Order follows from that alone: a start waits until what it
requires is available, a stop until nothing that leaves requires the service, children of a
supervisor take their turns, and what waits for nothing goes in parallel.

Only what was touched is looked at again, so that a change costs the same whether there are ten
services or ten thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from hosts.throttle import Throttle
from hosts.timers import Timers
from runtime.backoff import Rng
from runtime.config.start_order import start_order
from runtime.errors import Kind, PerdureError
from supervision.child import Child, Means
from supervision.group import Group
from supervision.messages import Report, ServiceStatus, Supervised
from supervision.service import ServiceSpec
from supervision.state import State


class Tree:
    """Services under a root whose strategy is one_for_one, and who never gives up.

    Args:
        services: in any order.
        timers, rng, post, run, moved: see `Means`.

    Raises PerdureError INVALID, see `checked_order`.
    """

    def __init__(
        self,
        services: Iterable[Supervised],
        timers: Timers,
        rng: Rng,
        post: Callable[[Report], None],
        run: Callable[[str, Callable[[], None]], None],
        moved: Callable[[Child, State], None],
    ) -> None:
        self._means = Means(timers, rng, post, Throttle(timers.clock), run, self._touch, moved)
        self._touched: dict[Child, None] = {}
        #: By id, each behind what it waits for.
        self.children: dict[str, Child] = {}
        self.replace(services, ())

    def replace(self, put: Iterable[Supervised], drop: Iterable[str]) -> None:
        """Put services in, in the place of those with their ids, after taking others out.

        What is replaced or taken out must be down. A supervisor that stays one keeps its state.
        Raises PerdureError INVALID, and then nothing is changed.
        """
        new = {spec.id: (spec, service) for spec, service in put}
        order = checked_order(self.specs_with(new, drop))
        children = {}
        for each in order:
            child = self.children.get(each)
            if each in new:
                spec, service = new[each]
                if isinstance(child, Group) and spec.family is not None:
                    child.spec = spec
                elif spec.family is not None:
                    child = Group(spec, self._means)
                else:
                    child = Child(spec, service, self._means)
            assert child is not None
            children[each] = child
        self.children = children
        self._tie()

    def specs_with(
        self, put: Mapping[str, Supervised], drop: Iterable[str]
    ) -> dict[str, ServiceSpec]:
        """The specs there would be after `replace`."""
        gone = set(drop)
        specs = {key: child.spec for key, child in self.children.items() if key not in gone}
        return specs | {key: spec for key, (spec, _) in put.items()}

    def settle(self) -> None:
        """Begin every start and stop that is wanted and has become possible."""
        while self._touched:
            touched, self._touched = self._touched, {}
            for child in touched:
                if isinstance(child, Group):
                    for each in child.advance():
                        self._touched[each] = None
                if child.startable:
                    if next(child.holders(), None) is None:
                        child.start()
                elif child.stoppable and child.may_stop:
                    child.stop()

    def depth_first(self) -> Iterator[Child]:
        """Every child; each supervisor before its own, from left to right."""
        for child in self.children.values():
            if child.parent is None:
                yield child
                if isinstance(child, Group):
                    yield from child.descendants()

    def status(self) -> list[ServiceStatus]:
        """How every child is, in the order of `depth_first`."""
        return [child.status() for child in self.depth_first()]

    def below_and_leaning(self, roots: Iterable[Child]) -> list[Child]:
        """`roots`, the descendants of all these, and what requires any of them, directly or not."""
        found: dict[Child, None] = {}
        left = list(roots)
        while left:
            child = left.pop()
            if child not in found:
                found[child] = None
                left += child.dependents
                if isinstance(child, Group):
                    left += child.children
        return list(found)

    def _tie(self) -> None:
        for child in self.children.values():
            child.parent = None
            child.requires = [self.children[each] for each in child.spec.requires]
            child.dependents = []
        for child in self.children.values():
            for each in child.requires:
                each.dependents.append(child)
            if isinstance(child, Group):
                child.adopt([self.children[each] for each in child.family.children])
            self._touch(child)

    def _touch(self, child: Child) -> None:
        """A child's goal or state is about to be, or was, changed: look again at its ties."""
        touched = self._touched
        touched[child] = None
        for each in child.dependents:
            touched[each] = None
        for each in child.requires:
            touched[each] = None
        if child.parent is not None:
            touched[child.parent] = None


def checked_order(specs: Mapping[str, ServiceSpec]) -> list[str]:
    """Ids of services, each behind what it waits for.

    Raises PerdureError INVALID when a service requires one that is not there, or has two
    supervisors, or when some wait for each other.
    """
    supervisors: dict[str, str] = {}
    for spec in specs.values():
        family = spec.family.children if spec.family is not None else ()
        if absent := sorted({*spec.requires, *family} - specs.keys()):
            verb = "requires" if absent[0] in spec.requires else "supervises"
            text = f"{spec.id} {verb} {', '.join(absent)}, which is no service here"
            raise PerdureError(Kind.INVALID, text)
        for child in family:
            other = supervisors.setdefault(child, spec.id)
            if other != spec.id or family.count(child) > 1:
                text = f"{child} is a child of {other} and of {spec.id}: it can have one supervisor"
                raise PerdureError(Kind.INVALID, text)
    requires = {spec.id: set(spec.requires) for spec in specs.values()}
    children = {spec.id: spec.family.children for spec in specs.values() if spec.family}
    try:
        return start_order(requires, children)
    except ValueError as error:
        raise PerdureError(Kind.INVALID, f"services wait for each other: {error}") from None
