"""Random trees, crashes and commands on simulated time.

Once against a model of what must be running, where starts and stops take no time; once with calls
that come back in any order, late, with errors or never, where nothing may be started twice, in the
wrong order or without its supervisor, and where all comes up in the end.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.errors import Kind, PerdureError
from supervision.messages import Change, Goal, Request
from supervision.state import State
from tests.clock import S
from tests.services import CRASH
from tests.supervision_lab import Lab, Manner, forest
from tests.supervision_model import Model

FATAL = PerdureError(Kind.INVALID, "hopeless", retryable=False)

SEEDS = st.integers(0, 1 << 32)

#: How calls may come back: at once, with errors, or when the test says so.
MANNERS: tuple[tuple[Manner, ...], ...] = (
    ("well", "never"),
    ("well", "badly", "never"),
    ("never",),
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@settings(max_examples=300, deadline=None)
@given(SEEDS)
def test_what_runs_is_what_must_run(seed: int) -> None:
    rng = random.Random(seed)
    specs = forest(rng, rng.randrange(1, 15))
    lab, model = Lab(specs), Model(specs)
    ids = [spec.id for spec in specs]
    broken = ""
    was_broken = False
    lab.want(Goal.UP)
    lab.drain()
    model.start_all()
    for _ in range(rng.randrange(1, 25)):
        running = [each for each in lab.puppets.values() if each.running]
        deed = rng.choice(("crash", "crash", "crash", "exit", "command", "time", "time", "break"))
        told: object = ""
        if deed in ("crash", "exit") and running:
            puppet = rng.choice(running)
            reason = CRASH if deed == "crash" else rng.choice((None, FATAL))
            told = (deed, puppet.id, reason)
            puppet.end(reason)
            if reason is CRASH:
                model.crash(puppet.id)
            else:
                model.exits(puppet.id, reason is None)
        elif deed == "command":
            service, goal = rng.choice(ids), rng.choice(list(Goal))
            told = (goal, service)
            lab.want(goal, service)
            {Goal.UP: model.start, Goal.DOWN: model.stop, Goal.RESTART: model.restart}[goal](
                service
            )
        elif deed == "time":
            nanoseconds = rng.choice((S // 2, S, 3 * S, 10 * S, 100 * S))
            told = nanoseconds
            lab.advance(nanoseconds)
            model.advance(nanoseconds)
        elif deed == "break" and lab.puppets:
            # One at a time: with two, the order of their failures would matter.
            if broken:
                lab.puppets[broken].manner = lambda verb: "well"
                model.nodes[broken].broken = False
            broken = rng.choice(list(lab.puppets))
            was_broken = True
            lab.puppets[broken].manner = lambda verb: "badly" if verb == "start" else "well"
            model.nodes[broken].broken = True
        lab.drain()
        compare(lab, model, told, was_broken)


def compare(lab: Lab, model: Model, told: object, was_broken: bool) -> None:
    statuses = lab.status()
    for name, node in model.nodes.items():
        status = statuses[name]
        expected = State.RUNNING if node.up else State.STARTING if node.begun else None
        seen = status.state if status.state in (State.RUNNING, State.STARTING) else None
        assert seen is expected, (told, name, status)
        assert (status.state is State.EXITED) is node.exited, (told, name, status)
        waits = node.due - model.now if node.due is not None and node.due > model.now else None
        assert status.next_attempt == waits, (told, name, status)
        if name in lab.puppets:
            assert lab.puppets[name].running is node.up
            assert was_broken or lab.puppets[name].starts == node.starts, (told, name)


@settings(max_examples=300, deadline=None)
@example(20629)  # somebody starts the child of a supervisor that stops
@example(228795)  # a stop that was given up comes back when its supervisor is not up
@example(43686)  # a supervisor starts its children while one of them is replaced
@given(SEEDS)
def test_nothing_is_started_twice_or_out_of_order_and_all_comes_up(seed: int) -> None:
    rng = random.Random(seed)
    lab = Lab(forest(rng, rng.randrange(1, 15)))
    manners = rng.choice(MANNERS)
    for puppet in lab.made:
        puppet.manner = lambda verb: rng.choice(manners)
    asked: list[Request | Change] = [lab.want(Goal.UP)]
    for _ in range(rng.randrange(1, 120)):
        waiting = [(each, verb) for each in lab.made for verb in each.waiting]
        running = [each for each in lab.made if each.running]
        deed = rng.choice(("message",) * 6 + ("back",) * 6 + ("crash", "crash", "ask", "time"))
        if deed == "message" and lab.messages:
            lab.conductor.handle(lab.messages.pop(0))
        elif deed == "back" and waiting:
            puppet, verb = rng.choice(waiting)
            puppet.come_back(verb, CRASH if verb == "start" and rng.random() < 0.3 else None)
        elif deed == "crash" and running:
            rng.choice(running).end(rng.choice((CRASH, CRASH, CRASH, None, FATAL)))
        elif deed == "ask" and rng.random() < 0.2:
            asked.append(change(rng, lab))
            for puppet in lab.made[-1:]:
                puppet.manner = lambda verb: rng.choice(manners)
            lab.ask(asked[-1])
        elif deed == "ask":
            service = rng.choice([*lab.conductor.tree.children, None])
            asked.append(lab.want(rng.choice(list(Goal)), service))
        elif deed == "time":
            lab.advance(rng.choice((0, S // 2, S, 5 * S, 11 * S)))
        for child in lab.conductor.tree.children.values():
            assert child.parent is None or not child.active or child.parent.active, child.spec.id

    heal(lab)
    for service in lab.conductor.tree.children:
        asked.append(lab.want(Goal.UP, service))
        heal(lab)
    assert {each.state for each in lab.status().values()} <= {State.RUNNING}
    assert {each for each in lab.made if each.running} == set(lab.puppets.values())
    asked.append(lab.want(Goal.DOWN))
    heal(lab)
    assert {each.state for each in lab.status().values()} <= {State.STOPPED}
    assert not any(each.running for each in lab.made)
    assert all(each.done.done() for each in asked)
    assert lab.clock.timers.next_due() is None


def heal(lab: Lab) -> None:
    """From now on all goes well, and what waited comes back; come back when all is quiet."""
    for puppet in lab.made:
        puppet.manner = lambda verb: "well"
    while True:
        lab.drain()
        for puppet in lab.made:
            for verb in list(puppet.waiting):
                puppet.come_back(verb)
        if not lab.messages:
            if lab.clock.timers.next_due() is None:
                return
            lab.advance(10 * S)


def change(rng: random.Random, lab: Lab) -> Change:
    """Replace a service, or take out one that nothing stands on."""
    children = lab.conductor.tree.children
    child = rng.choice(list(children.values()))
    stands = child.dependents or child.parent is not None or len(children) == 1
    if stands or rng.random() < 0.5:
        return Change(put=[lab.supervised(child.spec)], drop=frozenset())
    return Change(put=[], drop=frozenset({child.spec.id}))
