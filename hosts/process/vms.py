"""The VMs of a host, found by the PIDs of what is in them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from hosts.deployed import Deployed
from hosts.performer import Performer
from hosts.pids import HOST_SERIAL, pid_of, vm_of, vm_prefix
from hosts.process.placement import UNLIMITED
from hosts.process.worker import Loss, ProcessWorker
from runtime import commands as c
from runtime import inputs
from runtime.clock import Clock
from runtime.codec import encode
from runtime.errors import Kind, PerdureError
from runtime.inputs import Input
from runtime.lua.machine import Machine
from runtime.routing.router import Router, reply_of


class Vms:
    """The workers of one host. Safe to call from any thread.

    Args:
        host_id: the host part of the PIDs.
        boot: boot number of the node.
        deployed: what its VMs run.
        performer: does what the VMs ask for; hears of what ended with a lost VM.
        fuel: instructions that a slot may run without waiting; 0 for no limit.
        memory: bytes of a VM at which what grew it is killed; half more is its hard cap.
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
        self._by_prefix: dict[str, ProcessWorker] = {}
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
            if worker in self.workers:
                self._by_prefix[worker.prefix] = worker
            else:
                self._by_prefix.pop(worker.prefix, None)
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
        self._by_prefix[worker.prefix] = worker
        self.workers.append(worker)
        worker.launch()
        return worker

    def end(self) -> None:
        """End all workers, and what is in them."""
        workers, self.workers = self.workers, []
        for worker in workers:
            self._deployed.leave(worker)
            worker.end()
        for worker in workers:
            worker.join()
        self._by_prefix.clear()

    def dismiss(self, worker: ProcessWorker) -> None:
        """End one worker, in which nothing runs."""
        self.workers.remove(worker)
        self._deployed.leave(worker)
        worker.end()

    def of(self, pid: str) -> ProcessWorker | None:
        """The worker of a PID, or None."""
        return self._by_prefix.get(vm_of(pid))

    def new_pid(self, worker: ProcessWorker) -> str:
        """A PID for what is going to be started there."""
        return pid_of(worker.prefix, next(self._serials))

    def _machine(self) -> tuple[str, Machine]:
        prefix = vm_prefix(self._host_id, self._boot, next(self._numbers))
        machine = Machine(self._host_id, prefix, self._clock, fuel=self._fuel, memory=self._memory)
        machine.define(self._deployed.definitions)
        return prefix, machine

    def _tell(self, loss: Loss) -> None:
        """Give everyone outside what they wait for of a lost VM."""
        router = self._router
        self._performer.lost(loss.prefix)
        failure = encode(loss.error)
        for pid in loss.ties:
            self._performer.ended(c.Ended(pid, False, failure))
        router.names.release_all(loss.prefix)
        for pid, tie in loss.ties.items():
            event = {"from": pid, "at": self._clock.wall(), "result": {"error": loss.error}}
            for watcher in sorted(tie.watchers):
                router.deliver(inputs.signal(watcher, encode({"kind": "pid.exit", **event})))
            for peer in sorted(tie.links):
                router.deliver(inputs.signal(peer, encode({"kind": "pid.link.down", **event})))
            for reply in tie.outcomes:
                router.answer(reply, failure, ok=False)
        for item in loss.inputs:
            self._refuse(item, loss.error)

    def _refuse(self, item: Input, error: PerdureError) -> None:
        router, kind = self._router, item[0]
        if kind in ("message", "control"):
            gone = PerdureError(Kind.NOT_FOUND, f"process not found: {item[1]}")
            router.refuse(reply_of(item), gone)
        elif kind == "start":
            if item[1] is not None:
                self._performer.ended(c.Ended(item[1], False, encode(error)))
            router.refuse(item[4].get("reply"), error)
            router.refuse(item[4].get("outcome"), error)
        elif kind == "list":
            router.answer((item[2], item[3]), encode([]))
        elif kind == "define":
            router.answer((item[2], item[3]))
