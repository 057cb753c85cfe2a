"""Starting runs: what a request becomes, by its workflow id and the policies."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hosts import cron
from hosts.durable import keys
from hosts.durable.beginnings import Beginning
from hosts.durable.execution import Execution
from hosts.durable.flights import Flight
from hosts.durable.records import Record
from hosts.start_options import StartOptions
from journal.unit import Unit
from runtime.codec import encode
from runtime.errors import Kind, PerdureError
from runtime.routing.router import Origin, SpawnRequest

if TYPE_CHECKING:
    from hosts.durable.shard import Shard

#: How long a start that could not be written waits for the journal, ns.
_AGAIN_NS: Final = 1_000_000_000


class Asked(NamedTuple):
    """A start that a run has asked for."""

    parent: Origin
    request: SpawnRequest
    workflow_id: str
    options: StartOptions


class Starts:
    """Handles the start requests of a shard. Used on the shard's thread."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        #: Idempotency keys of runs that are on their way to the disk -> workflow id.
        self.keys: dict[str, str] = {}
        #: Runs on their way to the disk, or lost there until they are made anew, whose start only
        #: their parent waits for, and the request.
        self._asked: dict[int, Asked] = {}

    def start_run(self, request: SpawnRequest, workflow_id: str, options: StartOptions) -> None:
        """Start a run, or do what the policies say when its workflow id is in use."""
        start = request.start
        reply = start.get("reply")
        pid = self._pid(workflow_id)
        parent = (
            request.parent
            if request.parent and request.parent[0] == self._shard.journal.journal_id
            else None
        )
        known: dict[str, Any] = {}
        if parent is None and request.parent is not None:
            known["origin"] = request.parent
            if reply is not None:
                known["watcher"] = start["parent"]
        if request.key is not None and (first := self._started_for(request.key)):
            acks = [(reply, encode(self._pid(first)))] if reply is not None else []
            self._shard.submit(Unit(), Flight(0, acks))
            return
        if (joined := self._joined(request, workflow_id)) is not None:
            self._joined_before(request, pid, joined)
            return
        chosen = options.workflow_id or request.name or not keys.is_new(request)
        row = self._shard.runs.row_of(workflow_id) if chosen else None
        current = self._shard.runs.find(workflow_id) if row and row.is_open else None
        if row and parent is not None and (row.parent, row.parent_seq) == parent[1:]:
            # Asked for before a crash: it is there.
            acks = [(reply, encode(pid))] if reply is not None else []
            self._shard.submit(Unit(), Flight(0, acks))
            return
        if current is not None:
            if options.conflict == "terminate_existing":
                self._shard.endings.terminate(
                    current, "terminated for a new run of its workflow id"
                )
            elif options.conflict == "fail" or options.error_when_started:
                self._refuse(request, pid, f"workflow {workflow_id} is running")
                return
            else:
                self._join(request, pid, current)
                return
        elif row and (
            options.reuse == "reject_duplicate"
            or (options.reuse == "allow_duplicate_failed_only" and row.status == "completed")
        ):
            self._refuse(request, pid, f"workflow {workflow_id} has run before ({row.status})")
            return
        now = self._shard.deadlines.wall()
        rules, begins = options.rules, 0
        if rules.cron is not None:
            begins = cron.next_ns(rules.cron, now)
        elif options.start_delay:
            begins = now + options.start_delay
        if options.execution_timeout is not None:
            rules = rules._replace(execution_deadline=max(begins, now) + options.execution_timeout)
        beginning = Beginning(
            workflow_id,
            request.entry,
            request.args,
            start.get("context"),
            [list(message) for message in start.get("messages", ())],
            start.get("parent", ""),
            parent[1] if parent else 0,
            parent[2] if parent else 0,
            {**(options.extra or {}), **known} or None,
            rules,
            begins,
        )
        try:
            execution, record = self._shard.beginnings.make(beginning)
        except PerdureError as error:
            self._shard.parts.router.refuse_spawn(request, error)
            return
        if request.key is not None:
            record[1]["key"] = request.key
            self.keys[request.key] = workflow_id
            execution.effects.append(partial(self.keys.pop, request.key, None))
            self._remember(request.key, workflow_id, execution.unit)
        execution.fresh.append(record)
        if reply is not None:
            execution.acks.append((reply, encode(pid)))
        if parent is None:
            self._shard.endings.expect(execution.run, request)
        elif reply is None:
            self._asked[execution.run] = Asked(parent, request, workflow_id, options)
            execution.effects.append(partial(self._asked.pop, execution.run, None))
        self._shard.wake(execution)

    def lost(self) -> None:
        """What was on its way to the disk is not there; a parent asks but once."""
        self.keys.clear()
        for run in self._asked:
            again = partial(self._shard.post, partial(self._again, run))
            self._shard.deadlines.after(_AGAIN_NS, again)

    def refuse(self, error: PerdureError) -> None:
        """Nothing more is written: parents of runs that are not on disk hear so."""
        asked, self._asked = self._asked, {}
        for run, each in asked.items():
            if not self._shard.endings.is_on_disk(run):
                self._shard.parts.router.refuse_spawn(each.request, error)

    def unwritten(self, execution: Execution, refusal: PerdureError) -> None:
        """A run cannot be written, and will not be: who waits for it hears that."""
        key = execution.fresh[0][1].get("key")
        if key is not None:
            self.keys.pop(key, None)
        self._shard.endings.unwritten(execution.run, refusal)
        asked = self._asked.pop(execution.run, None)
        if asked is not None:
            self._shard.parts.router.refuse_spawn(asked.request, refusal)

    def _again(self, run: int) -> None:
        """Make a start anew that was lost, if the run that asked for it still waits."""
        asked = self._asked.pop(run, None)
        if asked is None:
            return
        _, parent, seq = asked.parent
        if any(each.seq == seq for each in self._shard.journal.outbox_of(parent)):
            request = asked.request
            outcome = request.start.get("outcome")
            handle = self.start_run
            self._shard.request(outcome, handle, request, asked.workflow_id, asked.options)

    def _join(self, request: SpawnRequest, pid: str, current: Execution) -> None:
        """A start request gets the run that is open; the answer goes out once that is on disk."""
        start = request.start
        acks = [(reply, encode(pid))] if (reply := start.get("reply")) is not None else []
        messages = start.get("messages", ())
        self._shard.endings.expect(current.run, request)
        for topic, args in messages:
            self._shard.touch(current, ["message", topic, start.get("parent", ""), args])
        # Messages, and the note that the request was answered so, are one transaction.
        together = bool(messages) or current.starting
        unit = current.unit if together else Unit()
        if request.parent is not None:
            unit.put_dedupe(self._origin(request.parent), current.run)
        if request.key is not None:
            self._remember(request.key, current.row.workflow_id, unit)
            # The history names the key, so that it can be forgotten with the run.
            again: Record = ["started_again", request.key]
            if current.starting:
                current.fresh[0][1].setdefault("keys", []).append(request.key)
            else:
                unit.append(current.run, [again])
                current.count([again])
        if together:
            current.acks += acks
        else:
            self._shard.submit(unit, Flight(current.run, acks))

    def _joined(self, request: SpawnRequest, workflow_id: str) -> int | None:
        """The run that a request of a run got before a crash, where that was there before it, or
        the request comes from elsewhere."""
        if request.parent is None:
            return None
        run: int | None = self._shard.journal.dedupe(self._origin(request.parent))
        journal = self._shard.journal
        elsewhere = request.parent[0] != journal.journal_id
        if run is None and elsewhere and self.came_from(workflow_id, request.parent):
            return journal.run_of(workflow_id)
        return run

    def came_from(self, workflow_id: str, origin: str | Origin) -> bool:
        """Whether the last run of a workflow id is what a request of a run has started."""
        row = self._shard.runs.row_of(workflow_id)
        if row is None:
            return False
        here = (self._shard.journal.journal_id, row.parent, row.parent_seq)
        return origin in (here, tuple((row.extra or {}).get("origin", ())))

    def _joined_before(self, request: SpawnRequest, pid: str, joined: int) -> None:
        """Answer a request that is made again with what it got, which may have ended since."""
        router, start = self._shard.parts.router, request.start
        router.answer(start.get("reply"), encode(pid))
        run, current = self._shard.chain.last(joined)
        if current is not None:
            self._shard.endings.expect(run, request)
            return
        end = self._shard.runs.end_of_run(run)
        if end is None:
            router.refuse(start.get("outcome"), PerdureError(Kind.NOT_FOUND, f"{pid} is gone"))
            return
        ok, value = end
        router.answer(start.get("outcome"), value, ok)
        watchers = [(each, False) for each in start.get("watchers", ())]
        watchers += [(each, True) for each in start.get("links", ())]
        for watcher, linked in watchers:
            at = self._shard.deadlines.wall()
            self._shard.outbox.send_exit(watcher, linked, pid, at, ok, value)

    def _origin(self, origin: Origin) -> bytes:
        return keys.of_start(self._shard.journal.journal_id, origin).encode()

    def _pid(self, workflow_id: str) -> str:
        return f"{{{self._shard.parts.host_id}|{workflow_id}}}"

    def _started_for(self, key: str) -> str | None:
        """The workflow id that was started for an idempotency key, None when none was."""
        first: str | None = self.keys.get(key) or self._shard.journal.dedupe(self._place(key))
        return first

    def _remember(self, key: str, workflow_id: str, unit: Unit) -> None:
        unit.put_dedupe(self._place(key), workflow_id)

    def _place(self, key: str) -> bytes:
        return keys.of_spawn(self._shard.parts.host_id, key).encode()

    def _refuse(self, request: SpawnRequest, pid: str, message: str) -> None:
        error = PerdureError(Kind.ALREADY_EXISTS, message, details={"pid": pid})
        self._shard.parts.router.refuse(request.start.get("reply"), error)
        if "outcome" in request.start:
            self._shard.parts.router.refuse(request.start["outcome"], error)
