"""Every kind of entry as data: its fields, their types and their defaults.

Durations become nanoseconds and sizes bytes in `Entry.data`; references become full ids. A source
becomes four fields: `source` (text), `source_path` (absolute), `source_line` (the line of that
file on which the text begins) and `source_name` (what messages of its code call it).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from runtime.config import env_kinds
from runtime.config.code_fields import CODE, IGNORED_IN_CODE, METHOD, target
from runtime.config.fields import Anything, Field, ListOf, Record, Ref
from runtime.config.scalars import (
    Choice,
    Duration,
    FilePath,
    Integer,
    Number,
    Size,
    Text,
)
from runtime.config.service_fields import SERVICES, service
from runtime.config.temporal_kinds import CLIENT, CLIENT_IGNORED, WORKER_OPTIONS_RECORD
from runtime.inbox import POLICIES

#: Kinds of entries that a process host runs.
PROCESS_KINDS: Final = ("process.lua", "process.python")


@dataclass(frozen=True)
class EntryKind:
    """A kind: its record of fields, or None where an entry is plain data with any fields."""

    doc: str
    record: Record | None = None


def _ref(*kinds: str) -> Ref:
    return Ref(frozenset(kinds))


_CPUS = os.cpu_count() or 1

_RETRY_POLICY = Record(
    {
        "initial_interval": Field(Duration(), "1s", "before the second attempt"),
        "backoff_coefficient": Field(Number(1), 2.0, "each interval times this is the next"),
        "maximum_interval": Field(Duration(), "100s", "no interval is longer"),
        "maximum_attempts": Field(Integer(), 0, "0: no limit"),
        "non_retryable_error_types": Field(ListOf(Text()), [], "error kinds not tried again"),
    }
)

_WORKFLOW_HOST: Mapping[str, Field] = {
    "task_queue": Field(Text(), "", "another name to spawn on; empty: none"),
    "workers": Field(Integer(1), _CPUS, "VM workers; by default one a CPU"),
    "cache": Field(Size(), "256MB", "of live runs; others wait on disk"),
    "limits": Field(
        Record(
            {
                "fuel": Field(Integer(), 100_000_000, "Lua instructions in a step; 0: no limit"),
                "memory": Field(Size(), "512MB", "of one VM"),
                "activities": Field(Integer(1), 1000, "that run at the same time"),
            }
        ),
        {},
    ),
    "retry_policy": Field(_RETRY_POLICY, None, "of activities without their own; none: 1 attempt"),
}


_JOURNAL: Final = {"path", "retention", "payload_limit"}

_NAMESPACE_DATA = EntryKind("about a namespace; plain data")

KINDS: Final[Mapping[str, EntryKind]] = {
    "function.lua": EntryKind(
        "a stateless function in Lua",
        Record(
            {
                **CODE,
                "method": METHOD,
                "pool": Field(
                    Record(
                        {
                            "type": Field(
                                Choice(("inline", "static", "lazy"), "pool type"),
                                "inline",
                                "inline: in the caller's VM; static, lazy: VMs of its own, each"
                                " with one call at a time",
                            ),
                            "workers": Field(
                                Integer(1), _CPUS, "VMs of a static pool, made with the node"
                            ),
                            "max_size": Field(
                                Integer(1), 16, "VMs of a lazy pool, at most, made when needed"
                            ),
                        },
                        ignored=frozenset({"buffer", "size", "warm_start"}),
                    ),
                    {},
                ),
            },
            ignored=IGNORED_IN_CODE,
        ),
    ),
    "function.python": EntryKind(
        "a function in Python, sync or async",
        Record(
            {
                "target": target("package.module:callable"),
                "pool": Field(
                    Record(
                        {
                            "type": Field(
                                Choice(("thread", "process"), "pool type"),
                                "thread",
                                "process: in child processes, for what computes or may hang",
                            ),
                            "workers": Field(
                                Integer(1),
                                None,
                                "of its own; none: the threads all share, a process for each CPU",
                            ),
                        }
                    ),
                    {},
                ),
            },
            ignored=IGNORED_IN_CODE,
        ),
    ),
    "library.lua": EntryKind(
        "Lua code for others to import", Record(CODE, ignored=IGNORED_IN_CODE)
    ),
    "process.lua": EntryKind(
        "an actor in Lua", Record({**CODE, "method": METHOD}, ignored=IGNORED_IN_CODE)
    ),
    "process.python": EntryKind(
        "an actor in Python",
        Record({"target": target("package.module:Class")}, ignored=IGNORED_IN_CODE),
    ),
    "workflow.lua": EntryKind(
        "a durable workflow in Lua",
        Record(
            {
                **CODE,
                "method": METHOD,
                "versioning": Field(
                    Choice(("pinned", "latest")),
                    "pinned",
                    "pinned: a run ends on the source it began on",
                ),
                "on_error": Field(
                    Choice(("fail", "suspend")),
                    "fail",
                    "what becomes of a run that raises",
                ),
            },
            ignored=IGNORED_IN_CODE,
        ),
    ),
    "process.host": EntryKind(
        "runs processes",
        service(
            {
                "host": Field(
                    Record(
                        {
                            "workers": Field(Integer(1), _CPUS, "VM workers; by default one a CPU"),
                            "max_processes": Field(
                                Integer(), 0, "at the same time; 0: no limit, and faster spawns"
                            ),
                        },
                        ignored=frozenset({"buffer_size", "queue_size"}),
                    ),
                    {},
                ),
                "isolation": Field(
                    Choice(("shared", "vm")),
                    "shared",
                    "vm: each process has a VM of its own, with limits.memory as its cap",
                ),
                "limits": Field(
                    Record(
                        {
                            "memory": Field(Size(), "512MB", "of one VM"),
                            "fuel": Field(
                                Integer(), 100_000_000, "Lua instructions in a step; 0: no limit"
                            ),
                            "inbox": Field(
                                Record(
                                    {
                                        "size": Field(
                                            Integer(),
                                            0,
                                            "messages that wait for one process; 0: no limit",
                                        ),
                                        "policy": Field(
                                            Choice(POLICIES, "inbox policy"),
                                            "reject",
                                            "what a message to a full inbox does",
                                        ),
                                    }
                                ),
                                {},
                            ),
                        }
                    ),
                    {},
                ),
            },
            auto_start=True,
        ),
    ),
    "process.service": EntryKind(
        "a process that is kept running",
        service(
            {
                "process": Field(
                    _ref(*PROCESS_KINDS), doc="id of a process.lua or process.python", required=True
                ),
                "host": Field(_ref("process.host"), doc="id of a process.host", required=True),
                "input": Field(ListOf(Anything()), [], "its arguments"),
            },
            auto_start=False,
        ),
    ),
    "process.supervisor": EntryKind(
        "starts and stops services together, and gives up when they crash too often",
        service(
            {
                "strategy": Field(
                    Choice(("one_for_one", "one_for_all", "rest_for_one")),
                    "one_for_one",
                    "who is started again when a child has crashed: the child, all children, or"
                    " the child and those after it",
                ),
                "intensity": Field(
                    Record(
                        {
                            "restarts": Field(Integer(), 3, "crashes that are too few to give up"),
                            "period": Field(
                                Duration(positive=True), "5s", "within which they are counted"
                            ),
                        }
                    ),
                    {},
                    "more crashes than this, and the supervisor itself has failed",
                ),
                "children": Field(
                    ListOf(Ref(SERVICES)), doc="ids of services of any kind", required=True
                ),
            },
            auto_start=False,
            untimed=frozenset({"start_timeout", "stop_timeout"}),
        ),
    ),
    "journal.lmdb": EntryKind(
        "the embedded journal",
        service(
            {
                "path": Field(FilePath(), doc="a folder, such as data/journal", required=True),
                "retention": Field(Duration(), "30d", "how long an ended run can be read"),
                "payload_limit": Field(
                    Size(), "2MB", "of one value; Temporal's limit. 0: no limit"
                ),
            },
            auto_start=True,
            # One override of the kind makes a client a journal.
            ignored=frozenset({*CLIENT, *CLIENT_IGNORED}) - _JOURNAL,
        ),
    ),
    "workflow.host": EntryKind(
        "runs workflows, durably",
        service(
            {
                "journal": Field(_ref("journal.lmdb"), doc="id of a journal.lmdb", required=True),
                **_WORKFLOW_HOST,
            },
            auto_start=True,
        ),
    ),
    "temporal.client": EntryKind(
        "the connection to a Temporal server",
        service(CLIENT, auto_start=True, ignored=CLIENT_IGNORED),
    ),
    "temporal.worker": EntryKind(
        "runs workflows and activities of a task queue; on a journal.lmdb a workflow.host",
        service(
            {
                "client": Field(
                    _ref("journal.lmdb", "temporal.client"),
                    doc="id of a temporal.client or journal.lmdb",
                    required=True,
                ),
                **_WORKFLOW_HOST,
                "heartbeat_timeout": Field(
                    Duration(positive=True),
                    "10s",
                    "on a temporal.client: an activity whose worker is silent for so long is lost",
                ),
                "task_timeout": Field(
                    Duration(positive=True),
                    "30s",
                    "on a temporal.client: in which a run has to be replayed and stepped, and after"
                    " which another worker takes a step of one that is lost",
                ),
                "worker_options": Field(
                    WORKER_OPTIONS_RECORD, {}, "on a temporal.client: of the SDK's worker"
                ),
            },
            auto_start=True,
            # Overrides of kind and client make a workflow.host a worker.
            ignored=frozenset({"journal"}),
        ),
    ),
    "terminal.host": EntryKind(
        "runs one process with io on the terminal",
        service({}, auto_start=False, ignored=frozenset({"hide_logs"})),
    ),
    "env.storage.memory": EntryKind("values of variables while the node runs", env_kinds.STORAGE),
    "env.storage.os": EntryKind("the environment of the node's process", env_kinds.STORAGE),
    "env.storage.router": EntryKind("storages that are asked in turn", env_kinds.ROUTER),
    "env.variable": EntryKind("a variable that Lua code can read", env_kinds.VARIABLE),
    "store.memory": EntryKind(
        "values by key, for as long as the node runs",
        Record(
            {"max_size": Field(Integer(), 10_000, "values at most; 0: no limit")},
            ignored=frozenset({"cleanup_interval", "lifecycle"}),
        ),
    ),
    "store.lmdb": EntryKind(
        "values by key, on disk",
        service(
            {"path": Field(FilePath(), doc="a folder, such as data/sessions", required=True)},
            auto_start=True,
        ),
    ),
    "registry.entry": EntryKind("plain data"),
    "ns.definition": _NAMESPACE_DATA,
    "ns.dependency": _NAMESPACE_DATA,
    "ns.requirement": _NAMESPACE_DATA,
}


def kind_named(name: str) -> EntryKind | None:
    """The kind of this name, or None; every `ns.…` is one."""
    return KINDS.get(name) or (_NAMESPACE_DATA if name.startswith("ns.") else None)
