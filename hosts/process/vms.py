"""The VMs of a host, found by the PIDs of what is in them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Protocol

from hosts.deployed import Deployed
from hosts.performer import Performer
from hosts.pids import HOST_SERIAL, pid_of, vm_of, vm_prefix
from hosts.process.placement import UNLIMITED
from hosts.process.ties import tell_end
from hosts.process.worker import Loss, ProcessWorker
from runtime import commands as c
from runtime.clock import Clock
from runtime.codec import encode
from runtime.errors import Kind, PerdureError
from runtime.inbox import NO_LIMIT, InboxLimit
from runtime.inputs import Input
from runtime.lua.machine import Machine
from runtime.routing.router import Router, reply_of

logger = logging.getLogger(__name__)


class Home(Protocol):
    """Where processes live: a VM, or the threads of those in Python."""

    @property
    def prefix(self) -> str:
        """How its PIDs begin."""
        ...

    @property
    def post(self) -> Callable[[Input], None]:
        """Its way in, from any thread; see `put`."""
        ...

    @property
    def over(self) -> bool:
        """Whether it has ended: what comes then is handled by `flush`."""
        ...

    def flush(self) -> None:
        """Answer what nobody else is going to look at."""
        ...


def put(home: Home, item: Input) -> None:
    """Bring an input there. One that comes too late is refused, and never lost."""
    home.post(item)
    if home.over:
        home.flush()


class Vms:
    """The workers of one host. Safe to call from any thread.

    Args:
        host_id: the host part of the PIDs.
        boot: boot number of the node.
        deployed: what its VMs run.
        performer: does what the VMs ask for; hears of what ended with a lost VM.
        fuel: instructions that a slot may run without waiting; 0 for no limit.
        memory: bytes of a VM at which what grew it is killed; half more is its hard cap.
        inbox: how many messages may wait for a process.
        isolated: whether `memory` is the hard cap itself.
        numbers: where its VMs get their numbers, no number twice in a boot for the same host.
    """

    def __init__(
        self,
        host_id: str,
        boot: int,
        deployed: Deployed,
        router: Router,
        clock: Clock,
        performer: Performer,
        *,
        fuel: int,
        memory: int,
        inbox: InboxLimit = NO_LIMIT,
        isolated: bool = False,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self.workers: list[ProcessWorker] = []
        self._host_id = host_id
        self._boot = boot
        self._deployed = deployed
        self._router = router
        self._clock = clock
        self._performer = performer
        self._fuel = fuel
        self._memory = memory
        self._inbox = inbox
        self._cap = memory if isolated else memory + memory // 2
        self._dropped = 0
        self._by_prefix: dict[str, Home] = {}
        self._numbers = numbers or itertools.count()
        self._serials = itertools.count(HOST_SERIAL)

    def launch(
        self,
        on_turn: Callable[[int, int, int], None],
        on_lost: Callable[[Loss], None],
        room: Callable[[int], int] = lambda index: UNLIMITED,
    ) -> ProcessWorker:
        """Start one more worker; see ProcessWorker for the arguments."""

        def lost(loss: Loss) -> None:
            # The new VM, if any, has its PIDs by now; those of the lost one find it as well, and
            # it knows none of them.
            self._dropped += loss.dropped
            if worker in self.workers:
                self._open(worker)
            else:
                self._close(worker.prefix)
            self._tell(loss)
            on_lost(loss)

        index = len(self.workers)
        worker = self._deployed.join(
            lambda: ProcessWorker(
                f"{self._host_id} worker {index}",
                index,
                self._machine,
                self._performer.perform,
                on_turn,
                lost,
                room,
            )
        )
        self._open(worker)
        self.workers.append(worker)
        worker.launch()
        return worker

    @property
    def dropped(self) -> int:
        """Messages that full inboxes dropped or refused."""
        return self._dropped + sum(worker.dropped for worker in list(self.workers))

    def end(self) -> None:
        """End all workers, and what is in them."""
        workers, self.workers = self.workers, []
        for worker in workers:
            self._deployed.leave(worker)
            worker.end()
        for worker in workers:
            worker.join()
        for prefix in list(self._by_prefix):
            self._close(prefix)

    def dismiss(self, worker: ProcessWorker) -> None:
        """End one worker, in which nothing runs."""
        self._dropped += worker.count_dropped()
        with suppress(ValueError):  # the host ends meanwhile, and all of them with it
            self.workers.remove(worker)
        self._close(worker.prefix)
        self._deployed.leave(worker)
        worker.end()

    def _open(self, worker: ProcessWorker) -> None:
        self._by_prefix[worker.prefix] = worker
        self._router.open_vm(worker.prefix, partial(put, worker))

    def _close(self, prefix: str) -> None:
        self._by_prefix.pop(prefix, None)
        self._router.close_vm(prefix)

    def of(self, pid: str) -> Home | None:
        """Where a PID lives, or None."""
        return self._by_prefix.get(vm_of(pid))

    def homes(self) -> set[Home]:
        """All places where something can live."""
        return set(self._by_prefix.values())

    def new_pid(self, home: Home) -> str:
        """A PID for what is going to be started there."""
        return pid_of(home.prefix, next(self._serials))

    def new_prefix(self) -> str:
        """How the PIDs of one more VM begin."""
        return vm_prefix(self._host_id, self._boot, next(self._numbers))

    def add(self, home: Home) -> None:
        """A place that is no VM, until `end`."""
        self._by_prefix[home.prefix] = home

    def _machine(self) -> tuple[str, Machine]:
        prefix = self.new_prefix()
        machine = Machine(
            self._host_id, prefix, self._clock,
            fuel=self._fuel, memory=self._memory, cap=self._cap, inbox=self._inbox,
            parcels=True,
        )  # fmt: skip
        machine.define(self._deployed.definitions)
        return prefix, machine

    def _tell(self, loss: Loss) -> None:
        """Give everyone outside what they wait for of a lost VM."""
        router = self._router
        self._performer.lost(loss.prefix)
        failure = encode(loss.error)
        for pid, tie in loss.ties.items():
            self._performer.ended(c.Ended(pid, False, failure, tie.entry))
        if not loss.ties and loss.error.kind != Kind.CANCELED:
            # No process that anybody knows ends with it, so no end tells of it.
            logger.error("%s", loss.error)
        router.names.release_all(loss.prefix)
        for pid, tie in loss.ties.items():
            tell_end(router, self._clock.wall(), pid, tie, False, failure)
        for item in loss.inputs:
            self._refuse(item, loss.error)

    def _refuse(self, item: Input, error: PerdureError) -> None:
        router, kind = self._router, item[0]
        if kind in ("message", "control"):
            if kind == "message":
                router.dead_letters.add(item[1], item[2], item[3])
            gone = PerdureError(Kind.NOT_FOUND, f"process not found: {item[1]}")
            router.refuse(reply_of(item), gone)
        elif kind == "start":
            if item[1] is not None:
                self._performer.ended(c.Ended(item[1], False, encode(error), item[2]))
            router.refuse(item[4].get("reply"), error)
            router.refuse(item[4].get("outcome"), error)
        elif kind == "list":
            router.answer((item[2], item[3]), encode([]))
        elif kind == "define":
            router.answer((item[2], item[3]))
