"""`perdure workflows`: the durable runs of a live node."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from supervision.cli.errors import FAILED, report
from supervision.cli.live import done, live
from supervision.cli.options import Assignment, JsonValue, as_json
from supervision.cli.output import facts, json_line, listing, local_time, table
from supervision.control.client import ControlClient
from supervision.control.plain import error_of

where = click.option(
    "--where",
    "condition",
    default="",
    metavar="CONDITION",
    help='Only those for which it holds, as in \'status = "open" and customer = "c-7"\'.',
)
run_id = click.option("--run", default="", metavar="RUN_ID", help="An earlier run of it.")


@click.group()
def workflows() -> None:
    """Look at durable workflows, start and steer them.

    A workflow is given by its workflow id or its PID.
    """


@workflows.command("list")
@click.option("--open", "only_open", is_flag=True, help="Only those that have not ended.")
@click.option("--limit", default=50, show_default=True, help="The newest so many; 0: all.")
@where
@live
@as_json
def list_(node: ControlClient, only_open: bool, limit: int, condition: str, as_json: bool) -> None:
    """List runs, the newest first.

    A host that cannot tell, such as one whose server is away, is named; the exit code is 1 then.
    """
    found = node.call("workflows.list", open=only_open, limit=limit, where=condition)
    _hint(node, condition)
    listing(
        found["runs"],
        as_json,
        {
            "WORKFLOW ID": "workflow_id",
            "ENTRY": "entry",
            "STATUS": "status",
            "STARTED": lambda row: local_time(row["started"]),
            "ENDED": lambda row: local_time(row["ended"]),
            "HOST": "host",
        },
    )
    for problem in found["problems"]:
        report(error_of(problem))
    if found["problems"]:
        sys.exit(FAILED)


def _hint(node: ControlClient, condition: str) -> None:
    """Say what a condition asks for that no run has."""
    if condition and (hint := node.call("workflows.hint", where=condition)):
        click.echo(hint, err=True)


@workflows.command()
@click.argument("workflow", metavar="ID")
@run_id
@live
@as_json
def show(node: ControlClient, workflow: str, run: str, as_json: bool) -> None:
    """Show how a workflow stands.

    State, times, result or error, and what it waits for.
    """
    row = node.call("workflows.show", workflow=workflow, run=run)
    if as_json:
        json_line(row)
        return
    facts(
        {
            "workflow id": row["workflow_id"],
            "status": row["status"],
            "problem": row["problem"],
            "entry": row["entry"],
            "arguments": row["args"],
            "host": row["host"],
            "pid": row["pid"],
            "run id": row["run_id"],
            "parent": row["parent"],
            "search": _assigned(row["search"]),
            "memo": _assigned(row["memo"]),
            "started": local_time(row["started"]),
            "ended": local_time(row["ended"]),
            "history": f"{row['history_length']} records, {row['history_size']} bytes",
        }
    )
    if "result" in row:
        facts({"result": json.dumps(row["result"], ensure_ascii=False)})
    if "error" in row:
        report(error_of(row["error"]))
    if row["ended"] is None:
        _pending(row["pending"])


def _assigned(values: dict[str, Any]) -> str:
    return " ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items()
    )


def _pending(pending: list[dict[str, Any]]) -> None:
    if not pending:
        click.echo("\nnothing is pending: it waits for a message")
        return
    click.echo("\npending:")
    table(
        ("REQUEST", "TYPE", "TARGET", "ATTEMPT", "SINCE", "DUE", "LAST FAILURE"),
        (
            (
                row["request"],
                row["type"],
                row["target"],
                row["attempt"],
                local_time(row["since"]),
                local_time(row["due"]),
                row["failure"],
            )
            for row in pending
        ),
    )


@workflows.command()
@click.argument("workflow", metavar="ID")
@run_id
@live
@as_json
def history(node: ControlClient, workflow: str, run: str, as_json: bool) -> None:
    """Show the history of a workflow as a timeline."""
    rows = node.call("workflows.history", workflow=workflow, run=run)
    listing(
        rows,
        as_json,
        {"SEQ": "seq", "TIME": lambda row: local_time(row["at"]), "WHAT": "text"},
    )


@workflows.command()
@click.argument("entry", metavar="ENTRY")
@click.argument("host", metavar="HOST")
@click.argument("args", metavar="[JSON]...", nargs=-1, type=JsonValue())
@click.option("--id", "workflow_id", help="Workflow id; a run that has it already is taken.")
@click.option(
    "--search", multiple=True, type=Assignment(), help="A search attribute to list it by."
)
@click.option("--memo", multiple=True, type=Assignment(), help="What else is worth knowing of it.")
@click.option(
    "--option",
    "options",
    multiple=True,
    type=Assignment(),
    help="A start option, such as run_timeout=1h or cron_schedule='0 9 * * *'.",
)
@click.option("--key", help="Idempotency key: one workflow is started for it.")
@live
@as_json
def start(
    node: ControlClient,
    entry: str,
    host: str,
    args: tuple[Any, ...],
    workflow_id: str | None,
    search: tuple[tuple[str, Any], ...],
    memo: tuple[tuple[str, Any], ...],
    options: tuple[tuple[str, Any], ...],
    key: str | None,
    as_json: bool,
) -> None:
    """Start a workflow.

    Starts ENTRY on HOST with arguments in JSON, and prints its PID. It is on disk by then. HOST is
    the id of a workflow host, or a task queue.
    """
    started = node.call(
        "workflows.start",
        entry=entry,
        host=host,
        args=list(args),
        id=workflow_id,
        search=dict(search) or None,
        memo=dict(memo) or None,
        options=dict(options) or None,
        key=key,
    )
    if as_json:
        json_line(started)
    else:
        click.echo(started["pid"])


@workflows.command()
@click.argument("workflow", metavar="ID")
@click.argument("topic", metavar="TOPIC")
@click.argument("payload", metavar="[JSON]...", nargs=-1, type=JsonValue())
@click.option("--key", help="Idempotency key: the workflow takes the message once for it.")
@live
@as_json
def send(
    node: ControlClient,
    workflow: str,
    topic: str,
    payload: tuple[Any, ...],
    key: str | None,
    as_json: bool,
) -> None:
    """Send a message to a workflow; it is on disk by then."""
    node.call("workflows.send", workflow=workflow, topic=topic, payload=list(payload), key=key)
    done("sent", as_json)


@workflows.command()
@click.argument("workflow", metavar="ID")
@click.option("--reason", default="", help="What the workflow sees in its CANCEL event.")
@live
@as_json
def cancel(node: ControlClient, workflow: str, reason: str, as_json: bool) -> None:
    """Ask a workflow to end.

    It gets a CANCEL event, and may do as it likes.
    """
    node.call("workflows.cancel", workflow=workflow, reason=reason)
    done("asked to end", as_json)


@workflows.command()
@click.argument("workflow", metavar="ID")
@live
@as_json
def terminate(node: ControlClient, workflow: str, as_json: bool) -> None:
    """End a workflow at once."""
    node.call("workflows.terminate", workflow=workflow)
    done("terminated", as_json)


@workflows.command()
@click.argument("workflow", metavar="ID")
@click.option("--timeout", type=float, metavar="SECONDS", help="Give up after so long.")
@live
@as_json
def wait(node: ControlClient, workflow: str, timeout: float | None, as_json: bool) -> None:
    """Wait for a workflow and print its result."""
    result = node.call("workflows.wait", workflow=workflow, timeout=timeout)
    if as_json:
        json_line(result)
    else:
        click.echo(json.dumps(result, ensure_ascii=False, indent=2))


@workflows.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--entry", default="", metavar="ENTRY", help="Only runs of this entry.")
@click.option(
    "--status", type=click.Choice(["open", "suspended"]), default=None, help="Only such runs."
)
@where
@click.option("--to", type=click.Choice(["latest"]), required=True, help="The deployed code.")
@live
@as_json
def migrate(
    node: ControlClient,
    ids: tuple[str, ...],
    entry: str,
    status: str | None,
    condition: str,
    to: str,
    as_json: bool,
) -> None:
    """Move pinned open runs to the deployed code.

    Each run is replayed on that code first, and stays as it is where its history does not fit.
    Exits with 1 when one had to, and for an ID that no open run of a journal has.
    """
    rows = node.call(
        "workflows.migrate", ids=list(ids), entry=entry, status=status or "", where=condition
    )
    _hint(node, condition)
    known = {row[name] for row in rows for name in ("workflow_id", "run_id", "pid")}
    unknown = [each for each in ids if each not in known]
    stayed = [row for row in rows if not row["moved"] and not row["latest"]]
    listing(
        rows,
        as_json,
        {
            "WORKFLOW ID": "workflow_id",
            "ENTRY": "entry",
            "MOVED": lambda row: "yes" if row["moved"] else "no",
            "WHY NOT": "why",
        },
    )
    for each in unknown:
        click.echo(f"no open run of a journal fits: {each}", err=True)
    if stayed or unknown:
        sys.exit(FAILED)
