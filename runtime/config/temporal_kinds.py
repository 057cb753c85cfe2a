"""The fields of `temporal.client` and `temporal.worker`.

`worker_options` has the names of the Go SDK's worker.Options, as applications for the Wippy runtime
have them; those that the Python SDK can do are mapped, the others are named in a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from runtime.config.fields import Field, Record
from runtime.config.place import Type
from runtime.config.scalars import Choice, Duration, FilePath, Flag, Integer, Number, Text


class Option(NamedTuple):
    """An option of a worker: the argument of the Python SDK that it is, and its type."""

    argument: str
    type: Type
    doc: str


_COUNT: Final = Integer(1)
_RATE: Final = Number(0.001)
_DEPLOYMENT: Final = "deployment_config"

#: Option -> what it is to the Python SDK. The defaults are that SDK's.
WORKER_OPTIONS: Final[Mapping[str, Option]] = {
    "max_concurrent_activity_execution_size": Option(
        "max_concurrent_activities", _COUNT, "activities at the same time"
    ),
    "max_concurrent_local_activity_execution_size": Option(
        "max_concurrent_local_activities", _COUNT, "requests of runs to the node at the same time"
    ),
    "max_concurrent_workflow_task_execution_size": Option(
        "max_concurrent_workflow_tasks", _COUNT, "steps under way; by default 5 for each VM"
    ),
    "max_concurrent_activity_task_pollers": Option(
        "max_concurrent_activity_task_polls", _COUNT, "polls for activities"
    ),
    "max_concurrent_workflow_task_pollers": Option(
        "max_concurrent_workflow_task_polls", Integer(2), "polls for steps"
    ),
    "worker_activities_per_second": Option(
        "max_activities_per_second", _RATE, "activities of this worker"
    ),
    "task_queue_activities_per_second": Option(
        "max_task_queue_activities_per_second", _RATE, "activities of all workers of the queue"
    ),
    "sticky_schedule_to_start_timeout": Option(
        "sticky_queue_schedule_to_start_timeout",
        Duration(),
        "how long a step waits for the worker that has its run in memory",
    ),
    "max_heartbeat_throttle_interval": Option(
        "max_heartbeat_throttle_interval", Duration(), "heartbeats are sent no more rarely"
    ),
    "default_heartbeat_throttle_interval": Option(
        "default_heartbeat_throttle_interval", Duration(), "without a heartbeat_timeout"
    ),
    "worker_stop_timeout": Option(
        "graceful_shutdown_timeout", Duration(), "what activities have to end in when it stops"
    ),
    "max_cached_workflows": Option("max_cached_workflows", Integer(), "runs in memory, at most"),
    "disable_eager_activities": Option(
        "disable_eager_activity_execution", Flag(), "activities always go through the server"
    ),
    "local_activity_worker_only": Option(
        "no_remote_activities", Flag(), "take no activities from the queue"
    ),
    "identity": Option("identity", Text(), "the worker's name at the server"),
    "build_id": Option("build_id", Text(), "of the code, for what the server shows"),
    "deployment_name": Option(
        _DEPLOYMENT, Text(), "the worker deployment of which the code is the version build_id"
    ),
    "use_versioning": Option(
        _DEPLOYMENT, Flag(), "the server gives runs to versions of deployment_name as it is told"
    ),
    "default_versioning_behavior": Option(
        _DEPLOYMENT,
        Choice(("auto_upgrade", "pinned"), "behavior"),
        "with use_versioning: runs go to newer versions (the default), or stay on theirs",
    ),
}


def lacking(options: Mapping[str, object]) -> tuple[str, str] | None:
    """An option for the version of a deployment that has no effect without another: its name and
    that of the other. None when all is there."""
    given = {name for name, value in options.items() if value}
    for name, other in _NEEDS:
        if name in given and other not in given:
            return name, other
    return None


_NEEDS: Final = (
    ("deployment_name", "build_id"),
    ("use_versioning", "deployment_name"),
    ("default_versioning_behavior", "use_versioning"),
)


def lacking_credential(auth: Mapping[str, object]) -> tuple[str, ...] | None:
    """The fields of which one has to be there for the type of `auth`, and none is. None when all
    is there."""
    needs = _CREDENTIALS.get(str(auth["type"]), ())
    return next((names for names in needs if not any(auth[name] for name in names)), None)


_CREDENTIALS: Final = {
    "api_key": (("api_key", "api_key_env", "api_key_file"),),
    "mtls": (("cert_file", "cert_pem"), ("key_file", "key_pem")),
}

#: What the Go SDK has and the Python SDK has not, or what has no meaning for one workflow type.
_UNMAPPED: Final = frozenset(
    {
        "worker_local_activities_per_second", "max_concurrent_session_execution_size",
        "enable_session_worker", "enable_logging_in_replay", "disable_workflow_worker",
        "disable_registration_aliasing", "deadlock_detection_timeout",
        "max_concurrent_eager_activity_execution_size", "max_concurrent_nexus_task_execution_size",
        "max_concurrent_nexus_task_pollers", "deployment_options", "use_build_id_for_versioning",
        "workflow_panic_policy", "background_activity_context", "interceptors", "on_fatal_error",
        "max_workflow_thread_count", "workflow_cache_size",
    }
)  # fmt: skip

WORKER_OPTIONS_RECORD: Final = Record(
    {name: Field(option.type, None, option.doc) for name, option in WORKER_OPTIONS.items()},
    ignored=_UNMAPPED,
)

CLIENT: Final[Mapping[str, Field]] = {
    "address": Field(
        Text(r"[^\s/]+:[0-9]{1,5}", '"127.0.0.1:7233"'),
        doc='of the server, such as "127.0.0.1:7233"',
        required=True,
    ),
    "namespace": Field(Text(r"\S+", '"default"'), "default", "of the server"),
    "tq_prefix": Field(Text(), "", "before the name of every task queue"),
    "connection_timeout": Field(
        Duration(positive=True), "10s", "in which the server has to answer at the start"
    ),
    "compression": Field(
        Choice(("auto", "gzip", "none"), "compression"),
        "auto",
        "of what goes over the net; auto: none to a server on this machine, else gzip",
    ),
    "health_check": Field(
        Record(
            {
                "enabled": Field(Flag(), True, "ask the server, while it runs, whether it answers"),
                "interval": Field(Duration(positive=True), "5s", "how often"),
            }
        ),
        {},
    ),
    "auth": Field(
        Record(
            {
                "type": Field(Choice(("none", "api_key", "mtls"), "type"), "none"),
                "api_key": Field(Text(), "", "the key; better ${env:NAME}"),
                "api_key_env": Field(Text(), "", "name of the variable that has the key"),
                "api_key_file": Field(FilePath(), None, "file that has the key"),
                "cert_file": Field(FilePath(), None, "client certificate, PEM"),
                "key_file": Field(FilePath(), None, "its private key, PEM"),
                "cert_pem": Field(Text(), "", "the certificate itself"),
                "key_pem": Field(Text(), "", "the key itself"),
            }
        ),
        {},
    ),
    "tls": Field(
        Record(
            {
                "enabled": Field(
                    Flag(), False, "encrypt; auth of type api_key or mtls always does"
                ),
                "ca_file": Field(FilePath(), None, "who has signed the server's certificate, PEM"),
                "server_name": Field(Text(), "", "the name that the certificate is for"),
            },
            ignored=frozenset({"insecure_skip_verify"}),
        ),
        {},
    ),
}
#: The last are those of a journal.lmdb, which one override of the kind makes a client.
CLIENT_IGNORED: Final = frozenset(
    {
        "keep_alive_time", "keep_alive_timeout", "path", "retention", "payload_limit",
    }
)  # fmt: skip
