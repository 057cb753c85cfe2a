"""What a supervisor does with each message of its inbox.

Requests, exits, calls that come back and deadlines are all messages. Each changes what is known of
one service or what is wanted of some; the tree then begins what has become possible, and whoever
asked for something hears when what it concerns has settled.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hosts.timers import Timers
from runtime.backoff import Rng
from runtime.errors import Kind, PerdureError
from supervision.child import Child
from supervision.group import Group
from supervision.messages import (
    Asked,
    Change,
    Due,
    Exited,
    Goal,
    Look,
    Report,
    Request,
    Returned,
    Supervised,
    Troubling,
)
from supervision.state import State
from supervision.tree import Tree, checked_order

logger = logging.getLogger(__name__)

#: Called with a plain map for each transition of a service; see `Supervisor`.
OnTransition = Callable[[dict[str, Any]], None]


@dataclass(slots=True, eq=False)
class _Pending:
    """Somebody waits until some services have settled."""

    request: Request | Change
    children: list[Child]
    concerned: set[Child] = field(init=False)
    #: Those not seen settled; taken from the end, so that waiting for many costs little.
    unsettled: list[Child] = field(init=False)

    def __post_init__(self) -> None:
        self.concerned = set(self.children)
        self.unsettled = list(self.children)


@dataclass(slots=True, eq=False)
class _Swap:
    """A change whose services go down first."""

    change: Change
    leaving: list[Child]
    #: Ids of what was wanted up, and is to come back.
    wanted: list[str]

    @property
    def clear(self) -> bool:
        """All are down."""
        return not any(each.active or each.leaving for each in self.leaving)


class Conductor:
    """Args: see `Tree`; `on_transition` is called on the thread that hands in the messages."""

    def __init__(
        self,
        supervisor_id: str,
        services: Iterable[Supervised],
        timers: Timers,
        rng: Rng,
        post: Callable[[Report], None],
        run: Callable[[str, Callable[[], None]], None],
        on_transition: OnTransition | None,
    ) -> None:
        self._id = supervisor_id
        self._on_transition = on_transition
        self._begun = False  # what starts by itself has been asked to
        self._pending: list[_Pending] = []
        self._swap: _Swap | None = None
        self._later: list[Request | Change] = []  # what has to wait for the swap
        self.tree = Tree(services, timers, rng, post, run, self._moved)

    def handle(self, message: Asked | Report) -> None:
        """Take note of a message, and begin what has become possible."""
        try:
            match message:
                case Look():
                    message.succeed(self.tree.status())
                    return
                case Request() | Change():
                    self._asked(message)
                case Returned():
                    message.child.on_returned(message.verb, message.error)
                case Exited():
                    message.child.on_exited(message)
                case Troubling():
                    message.child.on_trouble()
                case Due():
                    message.child.on_due(message.number)
            self._go_on()
        except BaseException as error:
            # A fault of ours: the other services still need their supervisor.
            logger.exception("the supervisor %s could not handle %r", self._id, message)
            if isinstance(message, (Request, Change, Look)):
                self._pending = [each for each in self._pending if each.request is not message]
                message.fail(error)

    def close(self, error: PerdureError) -> None:
        """Tell everybody who waits that nothing will come of it."""
        for pending in self._pending:
            pending.request.fail(error)
        self._refuse_changes(error)

    def _go_on(self) -> None:
        self.tree.settle()
        while self._swap is not None and self._swap.clear:
            self._swapped(self._swap)
            self.tree.settle()
            while self._later and self._swap is None:
                self._asked(self._later.pop(0))
            self.tree.settle()
        self._answer()

    # Requests -------------------------------------------------------------------------------------

    def _asked(self, message: Request | Change) -> None:
        ending = PerdureError(
            Kind.UNAVAILABLE, f"{self._id} stops everything: nothing new is started", True
        )
        if isinstance(message, Request) and message.goal is Goal.DOWN:
            if message.id is None:
                self._refuse_changes(ending)
        elif any(_ends_all(pending.request) for pending in self._pending):
            message.fail(ending)
            return
        if self._swap is not None:
            self._later.append(message)
            return
        try:
            if isinstance(message, Change):
                self._begin_swap(message)
            else:
                self._pending.append(_Pending(message, self._aim(message)))
        except PerdureError as error:
            message.fail(error)

    def _aim(self, request: Request) -> list[Child]:
        """Set the goals that a request implies; gives the services whose settling ends it."""
        everything = list(self.tree.children.values())
        if request.id is None:
            self._begun = request.goal is not Goal.DOWN
            if request.goal is Goal.DOWN:
                for child in everything:
                    child.aim(Goal.DOWN)
                return everything
            chosen = [each for each in everything if each.spec.auto_start and each.parent is None]
            self._want(chosen)
            return [each for top in chosen for each in _with_descendants(top)]
        child = self._find(request.id)
        if request.goal is not Goal.DOWN:
            child.forgive()
        if request.goal is Goal.UP:
            self._want([child])
            return [*_with_descendants(child), *_coming(child)]
        concerned = self.tree.below_and_leaning([child])
        if request.goal is Goal.RESTART:
            self._want([child])
            for each in concerned:
                if each.active and each.goal is Goal.UP:
                    each.aim(Goal.RESTART)
            concerned += _coming(child)
        else:
            for each in concerned:
                each.aim(Goal.DOWN)
        return concerned

    def _find(self, service_id: str) -> Child:
        children = self.tree.children
        if service_id in children:
            return children[service_id]
        near = difflib.get_close_matches(service_id, children, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise PerdureError(Kind.NOT_FOUND, f'{self._id} has no service "{service_id}"{hint}')

    def _want(self, chosen: Iterable[Child]) -> None:
        """Want these up, what they and those below them require, and their supervisors.

        What has exited is not asked for again by somebody who asks for what requires it. A
        supervisor that is not up brings its children with it, when it is.
        """
        left = list(chosen)
        while left:
            child = left.pop()
            closed = next((each for each in _ancestors(child) if not each.open), None)
            if closed is not None:
                child = closed
            if child.goal is Goal.DOWN:
                child.aim(Goal.UP)
            required = [need for each in _with_descendants(child) for need in each.requires]
            for each in required:
                if each.goal is Goal.DOWN and each.state is not State.EXITED:
                    left.append(each)
            if child.parent is not None and child.parent.goal is Goal.DOWN:
                left.append(child.parent)

    # Changes of the tree --------------------------------------------------------------------------

    def _begin_swap(self, change: Change) -> None:
        children = self.tree.children
        for each in change.drop:
            self._find(each)
        put = {spec.id: (spec, service) for spec, service in change.put}
        specs = self.tree.specs_with(put, change.drop)
        checked_order(specs)
        leaving = [children[each] for each in change.drop]
        for each in put.keys() & children.keys():
            if not (isinstance(children[each], Group) and specs[each].family is not None):
                leaving.append(children[each])
        for spec in specs.values():
            supervisor = children.get(spec.id)
            at_once = isinstance(supervisor, Group) and supervisor.open
            for each in spec.family.children if spec.family is not None else ():
                moves = each in children and children[each].parent is not supervisor
                if moves and not at_once:
                    leaving.append(children[each])
        leaving = self.tree.below_and_leaning(leaving)
        wanted = [
            each.spec.id
            for each in leaving
            if each.goal is not Goal.DOWN or (each.state is State.EXITED and each.spec.id in put)
        ]
        for child in leaving:
            child.withheld = True
            child.aim(Goal.DOWN)
        self._swap = _Swap(change, leaving, wanted)

    def _swapped(self, swap: _Swap) -> None:
        """What the change concerns is down: carry it out, and bring back what was up."""
        self._swap, change = None, swap.change
        # Supervisors that were started meanwhile want theirs up, too.
        raised = [each.spec.id for each in swap.leaving if each.goal is not Goal.DOWN]
        before = self.tree.children
        self.tree.replace(change.put, change.drop)
        children = self.tree.children
        for child in children.values():
            child.withheld = False
        wanted = [*swap.wanted, *raised]
        concerned = dict.fromkeys(children[each] for each in wanted if each in children)
        for spec, _ in change.put:
            child = children[spec.id]
            new = spec.id not in before and spec.auto_start and self._begun
            if new and child.parent is None:
                concerned[child] = None
            for each in (child, *(child.children if isinstance(child, Group) else ())):
                if each.parent is not None and each.parent.open:
                    concerned[each] = None
        self._want(each for each in concerned if each.parent is None or each.parent.open)
        for spec, _ in change.put:
            concerned[children[spec.id]] = None
        self._pending.append(_Pending(change, list(concerned)))

    def _refuse_changes(self, error: PerdureError) -> None:
        """Nothing comes of a change under way, nor of what waits behind it."""
        waiting, self._later = self._later, []
        if self._swap is not None:
            for child in self._swap.leaving:
                child.withheld = False
            waiting.insert(0, self._swap.change)
            self._swap = None
        for each in waiting:
            each.fail(error)

    # Answers --------------------------------------------------------------------------------------

    def _answer(self) -> None:
        for pending in self._pending[:]:
            unsettled = pending.unsettled
            while unsettled and _settled(unsettled[-1]):
                unsettled.pop()
            if not unsettled:
                self._pending.remove(pending)
                pending.request.succeed([each.status() for each in pending.children])

    def _moved(self, child: Child, old: State) -> None:
        for pending in self._pending:
            request = pending.request
            # Who starts everything wants to hear of what that requires too.
            if (isinstance(request, Request) and request.id is None) or child in pending.concerned:
                request.changes.put(child.status())
        if self._on_transition is not None:
            try:
                self._on_transition(child.event(old))
            except BaseException:
                logger.exception("what hears of transitions failed")


def _ends_all(request: Request | Change) -> bool:
    return isinstance(request, Request) and request.id is None and request.goal is Goal.DOWN


def _ancestors(child: Child) -> list[Group]:
    """Its supervisor, the supervisor of that, and so on, the uppermost first."""
    found: list[Group] = []
    while child.parent is not None:
        child = child.parent
        found.insert(0, child)
    return found


def _coming(child: Child) -> list[Group]:
    """Supervisors of a child that have to come up before it does."""
    return [each for each in _ancestors(child) if not each.up]


def _with_descendants(child: Child) -> Iterator[Child]:
    yield child
    if isinstance(child, Group):
        yield from child.descendants()


def _settled(child: Child) -> bool:
    """It is where it was wanted, has failed at it, or waits for what has failed."""
    left, seen = [child], {child}
    while left:
        each = left.pop()
        if each.goal is Goal.RESTART or each.state is State.STOPPING:
            return False
        blockers: Iterable[Child] = ()
        if each.state is State.STARTING:
            blockers = each.unfinished() if isinstance(each, Group) else ()
            if not blockers:
                return False
        elif each.goal is Goal.DOWN:
            if each.stoppable:
                return False
        elif each.startable and each.state is not State.FAILED:
            blockers = each.holders()
        for blocker in blockers:
            if blocker not in seen:
                seen.add(blocker)
                left.append(blocker)
    return True
