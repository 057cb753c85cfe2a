"""What the runs and activities of a worker share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hosts.activity_options import RetryPolicy
from hosts.calls import Calls
from hosts.deployed import Deployed
from hosts.sources import Bundle
from hosts.temporal.requests import NodeRequests
from hosts.temporal.vms import RunVms
from runtime.commands import Ended
from runtime.ids import is_pid
from runtime.routing.router import Router


@dataclass(frozen=True, slots=True)
class Parts:
    """Of one worker.

    Attributes:
        prefix: before the names of task queues, as the client says.
        task_timeout: nanoseconds that a step, and the replay before it, may take, of runs that do
            not say.
        heartbeat: after so many nanoseconds without a sign of its worker an activity is lost.
        queue_of: the task queue of what a spawn names as its host, where that is a worker on the
            same client; else None.
    """

    host_id: str
    prefix: str
    router: Router
    calls: Calls
    deployed: Deployed
    requests: NodeRequests
    vms: RunVms
    retry_policy: RetryPolicy
    heartbeat: int
    task_timeout: int
    queue_of: Callable[[str], str | None]
    log_failure: Callable[[Ended], None]

    def pid(self, workflow_id: str, host: str | None = None) -> str:
        """The PID of a workflow of this worker, or of the one that it is known by."""
        return f"{{{host or self.host_id}|{workflow_id}}}"

    def reach(self, pid: str) -> None:
        """Let the node reach, by the server, the PID of a run that names a worker elsewhere."""
        host, registry = pid[1 : pid.find("|")], self.deployed.registry
        if host == self.host_id or not is_pid(pid):
            return
        if host not in registry or registry.get(host).kind == "temporal.worker":
            self.router.stand_in(host, self.host_id)

    def is_latest(self, entry: str) -> bool:
        """Whether runs of an entry take new code by themselves."""
        return bool(self.deployed.option(entry, "versioning") == "latest")

    def kind_of(self, entry: str) -> str:
        """Kind of a Lua entry that is deployed, else ""."""
        definition = self.deployed.definitions.get(entry)
        return "" if definition is None else definition.kind

    def bundle(self, entry: str) -> Bundle | None:
        """The source that a new run of `entry` is pinned to; None for one that takes what is
        deployed, and where it is not deployed."""
        definitions = self.deployed.definitions
        if entry not in definitions or self.is_latest(entry):
            return None
        return Bundle(entry, definitions)
