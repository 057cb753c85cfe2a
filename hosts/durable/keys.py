"""Idempotency keys: a request with a key that is in the journal is acknowledged and not repeated.

A key of the user's holds for the workflow that a message is for, or for the host that a spawn is
for. Requests of runs are told by where they come from.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from hosts.durable.randomness import new_uuid
from runtime.routing.router import Origin, SpawnRequest

_IDS: Final = uuid.UUID("2f4b9c5e-5a0e-4c7b-9d3f-6f0c1c2a7e11")


def of_send(run: int, seq: int) -> str:
    """Key of a message from one run to another of its journal; forgotten when it is answered."""
    return f"run:{run}:{seq}"


def of_message(journal_id: str, workflow_id: str, key: str | Origin) -> str:
    """Key of a message to a workflow of the journal `journal_id`."""
    if isinstance(key, str):
        return f"key:{workflow_id}:{key}"
    journal, run, seq = key
    return of_send(run, seq) if journal == journal_id else f"run:{journal}:{run}:{seq}"


def sender_of(record: list[Any]) -> tuple[int, int] | None:
    """Run and seq of the request that a message from another run of the journal is; else None."""
    key = record[4] if record[0] == "message" and len(record) > 4 else ""
    kind, *numbers = key.split(":")
    return (int(numbers[0]), int(numbers[1])) if kind == "run" and len(numbers) == 2 else None


def of_start(journal_id: str, origin: Origin) -> str:
    """Key of the messages that a run's start request brings to a run that is there already;
    forgotten when the request is answered."""
    journal, run, seq = origin
    return f"start:{run}:{seq}" if journal == journal_id else f"start:{journal}:{run}:{seq}"


def of_spawn(host_id: str, key: str) -> str:
    """Key of a spawn request; its value in the journal is the workflow id."""
    return f"spawn:{host_id}:{key}"


def of_record(host_id: str, record: list[Any]) -> list[str]:
    """The keys that a record of a run's history tells of, by which nothing is to be repeated."""
    kind = record[0]
    if kind == "started":
        first = record[1].get("key")
        found = [*([first] if first is not None else []), *record[1].get("keys", ())]
        return [of_spawn(host_id, key) for key in found]
    if kind == "started_again":
        return [of_spawn(host_id, record[1])]
    return [record[4]] if kind == "message" and len(record) > 4 else []


def is_new(request: SpawnRequest) -> bool:
    """Whether the workflow id that `new_workflow_id` gives for a request was never given before."""
    return request.parent is None and request.key is None


def new_workflow_id(host_id: str, request: SpawnRequest) -> str:
    """A workflow id for a request that chose none; the same for the same request made again."""
    if request.parent is not None:
        journal, run, seq = request.parent
        return str(uuid.uuid5(_IDS, f"run:{journal}:{run}:{seq}"))
    if request.key is not None:
        return str(uuid.uuid5(_IDS, of_spawn(host_id, request.key)))
    return new_uuid()
