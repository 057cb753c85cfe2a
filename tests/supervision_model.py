"""What must be running, said as simply as can be.

Every start and stop takes no time, and after each event all rules are tried on all services until
none changes anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from supervision.service import ServiceSpec, Strategy

#: Starts that one event may lead to, before the model gives up on finding an end.
_LIMIT = 10_000


@dataclass(eq=False)
class Node:
    """One service. A supervisor has `begun` before it is `up`."""

    spec: ServiceSpec
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    requires: list[Node] = field(default_factory=list)
    wanted: bool = False
    begun: bool = False
    up: bool = False
    #: It has been up since its supervisor began.
    arrived: bool = False
    #: It ended by itself and stays down; `returned` without an error.
    exited: bool = False
    returned: bool = False
    since: int = 0
    #: When it may be tried again, after a failure.
    due: int | None = None
    attempt: int = 0
    starts: int = 0
    crashes: list[int] = field(default_factory=list)
    #: Its starts fail.
    broken: bool = False

    def all(self) -> list[Node]:
        return [self, *(each for child in self.children for each in child.all())]


class Model:
    """The services of some specs."""

    def __init__(self, specs: list[ServiceSpec]) -> None:
        self.now = 0
        self.nodes = {spec.id: Node(spec) for spec in specs}
        for node in self.nodes.values():
            node.requires = [self.nodes[each] for each in node.spec.requires]
            for each in node.spec.family.children if node.spec.family else ():
                child = self.nodes[each]
                child.parent = node
                node.children.append(child)

    # What happens ---------------------------------------------------------------------------------

    def start_all(self) -> None:
        for node in self.nodes.values():
            if node.spec.auto_start and node.parent is None:
                self._want(node)
        self._settle()

    def start(self, service: str) -> None:
        node = self.nodes[service]
        self._forgive(node)
        self._want(node)
        self._settle()

    def stop(self, service: str) -> None:
        for node in self._concerned(self.nodes[service]):
            self._bring_down(node)
            node.wanted = False
        self._settle()

    def restart(self, service: str) -> None:
        node = self.nodes[service]
        self._forgive(node)
        self._want(node)
        for each in self._concerned(node):
            if each.begun and each.wanted:
                self._bring_down(each)
        self._settle()

    def exits(self, service: str, returned: bool) -> None:
        self._exit(self.nodes[service])
        self.nodes[service].returned = returned
        self._settle()

    def crash(self, service: str) -> None:
        self._fail(self.nodes[service])
        self._settle()

    def advance(self, nanoseconds: int) -> None:
        end = self.now + nanoseconds
        while True:
            due = [each.due for each in self.nodes.values() if each.due is not None]
            coming = [each for each in due if self.now < each <= end]
            if not coming:
                break
            self.now = min(coming)
            self._settle()
        self.now = end

    # The rules ------------------------------------------------------------------------------------

    def _settle(self) -> None:
        for _ in range(_LIMIT):
            if not any(self._step(node) for node in self.nodes.values()):
                return
        raise AssertionError("the model finds no end")

    def _step(self, node: Node) -> bool:
        if node.begun:
            if node.up or not all(map(_passed, node.children)):
                return False
            node.up, node.arrived, node.since = True, True, self.now
            return True
        if not self._may_start(node):
            return False
        node.begun, node.due, node.exited, node.returned = True, None, False, False
        node.starts += 1
        node.crashes = []
        for child in node.children:
            self._forgive(child)
            child.wanted, child.arrived = True, False
        if node.broken:
            self._fail(node)
        elif not node.spec.family:
            node.up, node.arrived, node.since = True, True, self.now
        return True

    def _may_start(self, node: Node) -> bool:
        if not node.wanted or (node.due is not None and node.due > self.now):
            return False
        if not all(each.up or (each.returned and not each.wanted) for each in node.requires):
            return False
        if node.parent is None:
            return True
        family = node.parent.spec.family
        assert family is not None
        if not node.parent.begun:
            return False
        left = node.parent.children[: node.parent.children.index(node)]
        in_line = not node.parent.up or family.strategy is not Strategy.ONE_FOR_ONE
        return not in_line or all(map(_passed, left))

    def _fail(self, node: Node) -> None:
        """It crashed, or its start failed, or, a supervisor, it has given up."""
        restart = node.spec.restart
        stable = node.up and self.now - node.since > node.spec.stable_threshold
        attempt = 1 if stable else node.attempt + 1
        self._bring_down(node)
        if restart.max_attempts and attempt > restart.max_attempts:
            self._exit(node)
            return
        node.attempt = attempt
        delay = min(restart.initial_delay * restart.backoff_factor ** (attempt - 1), 90e9)
        node.due = self.now + int(delay)
        supervisor = node.parent
        if supervisor is None:
            return
        family = supervisor.spec.family
        assert family is not None
        recent = [each for each in supervisor.crashes if self.now - each <= family.period]
        supervisor.crashes = [*recent, self.now]
        if len(supervisor.crashes) > family.restarts:
            self._fail(supervisor)
            return
        place = supervisor.children.index(node)
        siblings = {
            Strategy.ONE_FOR_ONE: [],
            Strategy.ONE_FOR_ALL: supervisor.children,
            Strategy.REST_FOR_ONE: supervisor.children[place + 1 :],
        }[family.strategy]
        for each in siblings:
            if each is not node and each.begun and each.wanted:
                self._bring_down(each)

    def _exit(self, node: Node) -> None:
        node.up = node.begun = node.wanted = node.returned = False
        node.exited, node.attempt = True, 0

    def _bring_down(self, node: Node) -> None:
        for each in node.all():
            each.begun = each.up = False
            self._forgive(each)
            if each is not node:
                each.wanted = False

    def _want(self, node: Node) -> None:
        above = node
        while above.parent is not None:
            above = above.parent
            if not above.begun:
                node = above  # it starts what is below it
        node.wanted = True
        for each in node.all():
            for need in each.requires:
                if not need.wanted and not need.exited:
                    self._want(need)

    def _forgive(self, node: Node) -> None:
        node.attempt, node.due = 0, None

    def _concerned(self, root: Node) -> list[Node]:
        """A service, its descendants, and all that requires any of these."""
        found: list[Node] = []
        left = [root]
        while left:
            node = left.pop()
            if node not in found:
                found.append(node)
                left += node.children
                left += [each for each in self.nodes.values() if node in each.requires]
        return found


def _passed(node: Node) -> bool:
    """Siblings to the right need not wait for it."""
    assert node.parent is not None
    assert node.parent.spec.family is not None
    in_order = node.parent.spec.family.strategy is not Strategy.ONE_FOR_ONE
    return not node.wanted or (node.up if in_order else node.arrived)
