"""The workflow host: durable runs on an LMDB journal."""

from __future__ import annotations

import itertools
import logging
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from hosts.activity_options import ONCE, RetryPolicy
from hosts.calls import Calls
from hosts.clients import Clients
from hosts.definitions import check_workflow
from hosts.deployed import Deployed
from hosts.durable import keys, listing
from hosts.durable.activities import Activities
from hosts.durable.deadlines import Deadlines
from hosts.durable.inline import InlineFunctions
from hosts.durable.limit import NO_LIMIT, PayloadLimit
from hosts.durable.poison import Reruns
from hosts.durable.records import Record
from hosts.durable.recovery import busy, recover
from hosts.durable.reports import JournalReports
from hosts.durable.shard import Parts, Shard
from hosts.start_options import start_options
from hosts.timers import Timers
from hosts.where import Condition
from journal import faults
from journal.errors import BadRecordError, JournalError
from journal.journal import Journal
from journal.records import RunRow
from runtime.codec import encode
from runtime.errors import Kind, PerdureError
from runtime.ids import check_name
from runtime.inputs import Input, ReplyTo
from runtime.lua.machine import Machine
from runtime.routing.router import Router, SpawnRequest, key_of, reply_of

logger = logging.getLogger(__name__)

RECOVERY_BEFORE: Final = faults.declare("host.recovery.before")
RECOVERY_AFTER: Final = faults.declare("host.recovery.after")


class WorkflowHost:
    """A `workflow.host` service (and a `temporal.worker` whose client is a journal).

    Args:
        journal: gives the open journal when the host starts.
        workers: shards, each a VM worker.
        cache: bytes of live runs, over all workers; what is more waits on disk.
    """

    def __init__(
        self,
        host_id: str,
        deployed: Deployed,
        journal: Callable[[], Journal],
        router: Router,
        clients: Clients,
        calls: Calls,
        timers: Timers,
        *,
        task_queue: str = "",
        workers: int = 1,
        fuel: int = 100_000_000,
        memory: int = 1 << 29,
        cache: int = 1 << 28,
        payload_limit: PayloadLimit = NO_LIMIT,
        activities: int = 1000,
        retry_policy: RetryPolicy = ONCE,
    ) -> None:
        self.id = host_id
        self._deployed = deployed
        self._open_journal = journal
        self._router = router
        self._clients = clients
        self._calls = calls
        self._timers = timers
        self._task_queue = task_queue
        self._worker_count = workers
        self._fuel = fuel
        self._memory = memory
        # A VM that reached its limit would kill the run that happens to grow it.
        self._cache = min(cache, memory * workers // 2)
        self._activities = activities
        self._payload_limit = payload_limit
        self._retry_policy = retry_policy
        self._shards: list[Shard] = []
        self._on_exit: Callable[[PerdureError | None], None] = lambda reason: None
        self._turns = itertools.count()
        self._journal: Journal | None = None
        self._deadlines: Deadlines | None = None
        #: What it tells people.
        self.reports = JournalReports(self)

    @property
    def journal(self) -> Journal:
        """The journal of a host that was started."""
        assert self._journal is not None
        return self._journal

    # As a service ---------------------------------------------------------------------------------

    def attach(self, on_exit: Callable[[PerdureError | None], None]) -> None:
        """It ends by itself when its journal does."""
        self._on_exit = on_exit

    def start(self) -> None:
        """Open for work, and take up what the last boot left: timers, activities, requests."""
        journal = self._open_journal()
        self._journal = journal
        self._deadlines = Deadlines(journal, self._timers, self._owner_of)
        parts = Parts(
            self.id, self._task_queue, journal, self._router, self._deployed,
            self._cache // self._worker_count,
            self._payload_limit,
        )  # fmt: skip
        self._shards = []
        for index in range(self._worker_count):
            shard = self._deployed.join(partial(self._shard, index, parts, self._deadlines))
            shard.launch()
            self._shards.append(shard)
            self._router.attach(shard.inline)
        # No run goes on before all that the last boot left undone is in the inboxes: what a run
        # asks for now must not pass what it asked for then.
        recovered = threading.Event()

        def wait() -> None:
            recovered.wait()

        for shard in self._shards:
            shard.post(wait)
        faults.point(RECOVERY_BEFORE)
        try:
            recover(journal, self._row, self._owner_of, self.deliver)
            Reruns(busy(journal, self._owner_of), self._shards, self._timers).start()
            # What is done now may be for a run of this host, and its answer is.
            self._router.attach(self, self._task_queue)
        finally:
            recovered.set()
        faults.point(RECOVERY_AFTER)
        self._deadlines.start()
        journal.watch(partial(self._journal_gone, self._on_exit))

    def stop(self) -> None:
        """Leave the runs where they are; the next start goes on."""
        self._router.detach(self)
        if self._deadlines is not None:
            self._deadlines.stop()
        shards, self._shards = self._shards, []
        for shard in shards:
            self._router.detach(shard.inline)
            self._deployed.leave(shard)
            shard.actor_ref.stop()

    def _journal_gone(
        self, on_exit: Callable[[PerdureError | None], None], error: JournalError
    ) -> None:
        """Take no more work. The shards may wait for the journal's thread, which this is."""

        def fail() -> None:
            self.stop()
            text = f"{self.id}: its journal failed: {error}"
            on_exit(PerdureError(Kind.UNAVAILABLE, text, True))

        threading.Thread(target=fail, name=f"perdure-fail-{self.id}", daemon=True).start()

    @property
    def trouble(self) -> PerdureError | None:
        """Why it takes no work at the moment, though it runs: its journal cannot be written."""
        error = self._journal.trouble if self._journal is not None else None
        return (
            None
            if error is None
            else PerdureError(Kind.UNAVAILABLE, f"{self.id} takes no work: {error}", True)
        )

    def _shard(self, index: int, parts: Parts, deadlines: Deadlines) -> Shard:
        return Shard(
            f"{self.id} worker {index}", parts, partial(self._machine, index),
            self._make_activities, partial(self._make_inline, index), deadlines,
        )  # fmt: skip

    def _machine(self, index: int) -> Machine:
        # What gets a PID by the machine is a function that another one called.
        prefix = f"{{{self._functions_id(index)}|n"
        machine = Machine(
            self.id, prefix, self._timers.clock, fuel=self._fuel, memory=self._memory,
            payload_limit=self._payload_limit.size,
        )  # fmt: skip
        machine.define(self._deployed.definitions)
        return machine

    def _functions_id(self, index: int) -> str:
        """Host part of the PIDs of the functions that run in a worker's VM."""
        return f"{self.id}.functions-{index}"

    def _make_activities(self, shard: Shard) -> Activities:
        limit = max(1, self._activities // self._worker_count)
        return Activities(shard, self._calls, self._retry_policy, limit, self._lender_of)

    def _lender_of(self, task_queue: str) -> Shard | None:
        """A shard of the workflow host that serves a task queue."""
        host = self._router.served_by(task_queue)
        return host.a_shard() if isinstance(host, WorkflowHost) else None

    def a_shard(self) -> Shard | None:
        """One of the shards, in turn; None while the host does not run."""
        shards = self._shards
        return shards[next(self._turns) % len(shards)] if shards else None

    def _make_inline(self, index: int, shard: Shard) -> InlineFunctions:
        return InlineFunctions(
            self._functions_id(index), shard, self._router, self._calls, self._timers
        )

    def _shard_of(self, workflow_id: str) -> Shard:
        return self._shards[zlib.crc32(workflow_id.encode()) % len(self._shards)]

    def _row(self, run: int) -> RunRow | None:
        try:
            return self._journal.run(run) if self._journal is not None else None
        except BadRecordError as error:
            logger.error("run %d is left as it is: %s", run, error)
            return None

    def _owner_of(self, run: int) -> Shard | None:
        row = self._row(run)
        if row is None or row.host != self.id or not self._shards:
            return None
        return self._shard_of(row.workflow_id)

    # As a host ------------------------------------------------------------------------------------

    def deliver(self, item: Input) -> None:
        kind, pid = item[0], item[1]
        workflow_id = pid[pid.index("|") + 1 : -1]
        if not self._shards:
            error = PerdureError(Kind.UNAVAILABLE, f"{self.id} is not running", True)
            if kind == "message":
                self._router.dead_letters.add(pid, item[2], item[3])
            if kind in ("message", "control", "name"):
                self._router.refuse(reply_of(item), error)
            return
        shard = self._shard_of(workflow_id)
        if kind == "message":
            _, _, topic, sender, args = item[:5]
            reply, message = reply_of(item), shard.arrivals.message
            shard.post(
                partial(
                    shard.request, reply, message, workflow_id, topic, sender, args, reply,
                    key_of(item),
                )
            )  # fmt: skip
        elif kind == "answer":
            shard.post(partial(shard.arrivals.answered, *item[2:5]))
        elif kind == "signal":
            shard.post(partial(shard.arrivals.event, workflow_id, item[2]))
        elif kind == "control":
            _, _, verb, sender, reason = item[:5]
            reply, control = reply_of(item), shard.arrivals.control
            shard.post(
                partial(
                    shard.request,
                    reply,
                    control,
                    workflow_id,
                    verb,
                    sender,
                    reason,
                    reply,
                    key_of(item),
                )
            )
        elif kind == "name":
            reply, named = reply_of(item), shard.arrivals.named
            shard.post(partial(shard.request, reply, named, workflow_id, item[2], reply))
        elif kind == "child_ended":
            shard.post(partial(shard.arrivals.child_ended, *item[2:]))
        elif kind == "outcome":
            reply = (item[2], item[3])
            shard.post(partial(shard.request, reply, shard.arrivals.outcome, workflow_id, reply))

    def spawn(self, request: SpawnRequest) -> None:
        try:
            check_workflow(self._deployed.definitions, request.entry, self.id)
            options = start_options(request.settings)
            if options.task_queue not in (None, self._task_queue, self.id):
                self._hand_over(request, options.task_queue)
                return
            chosen = options.workflow_id or request.name
            if chosen:
                check_name(chosen, "workflow id")
            workflow_id = chosen or keys.new_workflow_id(self.id, request)
            self._check_sizes(request, options.extra or {})
            if not self._shards:
                raise PerdureError(Kind.UNAVAILABLE, f"{self.id} is not running", True)
        except PerdureError as error:
            self._router.refuse_spawn(request, error)
            return
        shard = self._shard_of(workflow_id)
        reply = request.start.get("reply") or request.start.get("outcome")
        start_run = shard.starts.start_run
        shard.post(partial(shard.request, reply, start_run, request, workflow_id, options))

    def _check_sizes(self, request: SpawnRequest, extra: Mapping[str, Any]) -> None:
        check, start = self._payload_limit.check, request.start
        check(f"the arguments of {request.entry}", request.args)
        check(f"the context of {request.entry}", start.get("context", b""))
        for topic, args in start.get("messages", ()):
            check(f"the message {topic}", args)
        if extra:
            check(f"the memo of {request.entry}", extra.get("memo", b""))
            check(f"the search attributes of {request.entry}", encode(extra.get("search")))

    def _hand_over(self, request: SpawnRequest, task_queue: str | None) -> None:
        """The worker of another task queue is to run it."""
        host = self._router.served_by(task_queue or "")
        if not isinstance(host, WorkflowHost):
            text = f'no workflow host serves the task queue "{task_queue}"'
            raise PerdureError(Kind.NOT_FOUND, text)
        host.spawn(request)

    def lookup(self, name: str) -> str | None:
        """A workflow is known by its id while it is open: by what `with_name` gave it, too."""
        try:
            row = self.run(name)[1]
        except PerdureError:
            return None
        return f"{{{self.id}|{name}}}" if row.is_open else None

    # For people -----------------------------------------------------------------------------------

    def runs(
        self,
        limit: int | None = None,
        open_only: bool = False,
        where: Condition | None = None,
    ) -> Iterator[tuple[int, RunRow]]:
        """Runs of this host, the newest first; with `where` those for which it holds."""
        if self._journal is None:
            return iter(())
        return listing.found(self._journal, self.id, where, open_only=open_only, limit=limit)

    def attribute_names(self) -> list[str]:
        """The names of all search attributes that runs of its journal have."""
        return self._journal.attribute_names() if self._journal is not None else []

    def migrate(self, run: int, reply: ReplyTo) -> None:
        """Move an open run to the deployed code; see `Migration.move`."""
        shard = self._owner_of(run)
        if shard is None:
            self._router.refuse(reply, PerdureError(Kind.NOT_FOUND, f"{self.id} has no run {run}"))
            return
        shard.post(partial(shard.request, reply, shard.migration.move, run, reply))

    @property
    def next_due(self) -> int | None:
        """Wall clock time, ns, of the first durable timer that is still to come."""
        return self._deadlines.next_due() if self._deadlines is not None else None

    @property
    def live(self) -> int:
        """How many runs are in memory; the others are on disk."""
        return sum(len(shard.runs) for shard in self._shards)

    def tally(self) -> dict[str, int]:
        """Runs since the host was started: how many `started`, and how many ended how."""
        total: Counter[str] = Counter()
        for shard in self._shards:
            total.update(dict(shard.tally))
        return dict(total)

    def run(self, workflow_id: str) -> tuple[int, RunRow]:
        """The current or last run of a workflow id; raises PerdureError NOT_FOUND."""
        number = self._journal.run_of(workflow_id) if self._journal is not None else None
        row = self._journal.run(number) if self._journal is not None and number else None
        if number is None or row is None or row.host != self.id:
            raise PerdureError(Kind.NOT_FOUND, f"{self.id} has no workflow {workflow_id}")
        return number, row

    def history(self, run: int) -> list[tuple[int, Record]]:
        """The history of a run: (sequence number, record)."""
        assert self._journal is not None
        return self._journal.history(run)
