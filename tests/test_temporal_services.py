"""temporal.client and temporal.worker as services: clear states, and a node that runs on."""

from __future__ import annotations

import asyncio
import inspect
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import GrpcCompression, RPCError
from temporalio.worker import Worker, WorkerDeploymentConfig

from hosts.temporal.connection import compression_of
from hosts.temporal.worker_options import BUILD, arguments
from runtime.config.loader import load
from runtime.config.problems import ConfigurationError
from runtime.config.temporal_kinds import WORKER_OPTIONS
from runtime.errors import Kind, PerdureError
from supervision import preflight
from supervision.check import check
from supervision.node import Node
from tests.conformance_lab import lua
from tests.process_lab import PATIENCE, function, write_app
from tests.services import eventually
from tests.temporal_lab import DevServer

ENTRIES: dict[str, dict[str, Any]] = {
    "double": function("return ... * 2"),
    "flow": {"kind": "workflow.lua", "source": "return funcs.call('app:double', ...)",
             "modules": ["funcs"]},
    "worker": {"kind": "temporal.worker", "client": "app:client", "workers": 1},
}  # fmt: skip


def app(folder: Path, **client: Any) -> Path:
    entry = {"kind": "temporal.client", "connection_timeout": "2s", **client}
    return write_app(folder, {**ENTRIES, "client": entry})


def test_what_goes_to_a_server_on_this_machine_is_not_compressed() -> None:
    here = ("127.0.0.1:7233", "127.1.2.3:7233", "localhost:7233", "[::1]:7233")
    elsewhere = ("10.0.0.7:7233", "temporal.example:7233", "[fe80::1]:7233", "localhost.example:1")
    assert {compression_of("auto", each) for each in here} == {GrpcCompression.NONE}
    assert {compression_of("auto", each) for each in elsewhere} == {GrpcCompression.GZIP}
    for address in here + elsewhere:
        assert compression_of("gzip", address) == GrpcCompression.GZIP
        assert compression_of("none", address) == GrpcCompression.NONE


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"address": "127.0.0.1:1"}, "cannot be reached|does not answer within 2s"),
        ({"namespace": "elsewhere"}, 'has no namespace "elsewhere"'),
        ({"tls": {"enabled": True}}, "cannot be reached|does not answer within 2s"),
        (
            {"auth": {"type": "mtls", "cert_pem": "no certificate", "key_pem": "no key"}},
            "cannot be reached|refuses",
        ),
        ({"tls": {"enabled": True, "ca_file": "none.pem"}}, "none.pem cannot be read"),
    ],
)
def test_a_client_that_cannot_connect_has_failed_and_the_node_runs_on(
    tmp_path: Path, temporal_server: DevServer, fields: dict[str, Any], said: str
) -> None:
    address = {"address": temporal_server.address}
    with Node.from_path(app(tmp_path, **{**address, **fields})) as node:
        client = {each.id: each for each in node.services()}["app:client"]
        assert (client.state, client.next_attempt is not None) == ("failed", True)
        assert client.error is not None
        assert re.search(said, client.error.message), client.error.message
        assert node.call("app:double", 4, timeout=PATIENCE) == 8
        with pytest.raises(PerdureError) as refused:
            node.spawn("app:flow", "app:worker", 1)
        assert refused.value.kind == Kind.UNAVAILABLE


def test_every_option_of_the_python_sdk_is_mapped_and_others_are_named(tmp_path: Path) -> None:
    options = {
        "max_concurrent_activity_execution_size": 7,
        "worker_activities_per_second": 2.5,
        "sticky_schedule_to_start_timeout": "5s",
        "disable_eager_activities": True,
        "deadlock_detection_timeout": "1s",
        "enable_session_worker": True,
    }
    worker = {**ENTRIES["worker"], "worker_options": options}
    client = {"kind": "temporal.client", "address": "x:1", "namespace": "n"}
    loaded = load(write_app(tmp_path, {**ENTRIES, "worker": worker, "client": client}))
    assert [str(each).partition(": ")[2] for each in loaded.warnings] == [
        "app:worker: worker_options.deadlock_detection_timeout: it has no effect here",
        "app:worker: worker_options.enable_session_worker: it has no effect here",
    ]
    assert arguments(loaded.registry.get("app:worker").data["worker_options"]) == {
        "max_concurrent_activities": 7,
        "max_activities_per_second": 2.5,
        "sticky_queue_schedule_to_start_timeout": timedelta(seconds=5),
        "disable_eager_activity_execution": True,
        "build_id": BUILD,
    }
    known = set(inspect.signature(Worker).parameters)
    assert {each.argument for each in WORKER_OPTIONS.values()} <= known


VERSIONED = {"deployment_name": "shop", "build_id": "v7", "use_versioning": True}


@pytest.mark.parametrize(
    ("options", "config"),
    [
        (VERSIONED, (True, VersioningBehavior.AUTO_UPGRADE)),
        (
            {**VERSIONED, "default_versioning_behavior": "pinned"},
            (True, VersioningBehavior.PINNED),
        ),
        ({**VERSIONED, "use_versioning": None}, (None, VersioningBehavior.UNSPECIFIED)),
    ],
)
def test_a_version_of_a_deployment(
    options: dict[str, Any], config: tuple[bool | None, VersioningBehavior]
) -> None:
    version = WorkerDeploymentVersion("shop", "v7")
    made = WorkerDeploymentConfig(version, bool(config[0]), config[1])
    assert arguments(options) == {"deployment_config": made}


@pytest.mark.parametrize(
    ("options", "lacks"),
    [
        ({"deployment_name": "shop"}, "deployment_name: it has no effect without build_id"),
        ({"use_versioning": True}, "use_versioning: it has no effect without deployment_name"),
        (
            {**VERSIONED, "use_versioning": False, "default_versioning_behavior": "pinned"},
            "default_versioning_behavior: it has no effect without use_versioning",
        ),
    ],
)
def test_options_of_a_deployment_need_each_other(
    tmp_path: Path, options: dict[str, Any], lacks: str
) -> None:
    worker = {**ENTRIES["worker"], "worker_options": options}
    client = {"kind": "temporal.client", "address": "x:1"}
    folder = write_app(tmp_path, {**ENTRIES, "worker": worker, "client": client})
    (problem,) = check(load(folder), tmp_path / "data")
    assert (problem.entry, problem.message) == ("app:worker", f"worker_options.{lacks}")
    with pytest.raises(ConfigurationError, match=lacks):
        Node.from_path(folder)
    overrides = ["app:client:kind=journal.lmdb", "app:client:path=j"]
    assert check(load(folder, overrides), tmp_path / "data") == []


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"auth": {"type": "api_key"}}, "auth.type api_key needs auth.api_key or auth.api_key_env"),
        ({"auth": {"type": "mtls", "cert_pem": "x"}}, "auth.type mtls needs auth.key_file or auth"),
        ({"auth": {"type": "mtls", "key_pem": "x"}}, "auth.type mtls needs auth.cert_file or auth"),
        ({"address": ""}, 'address: "" is malformed'),
        ({"address": "localhost"}, 'address: "localhost" is malformed'),
        ({"address": "http://localhost:7233"}, 'address: "http://localhost:7233" is malformed'),
        ({"namespace": ""}, 'namespace: "" is malformed'),
    ],
)
def test_a_client_says_how_it_gets_to_the_server(
    tmp_path: Path, fields: dict[str, Any], problem: str
) -> None:
    client = {"kind": "temporal.client", "address": "[::1]:7233", **fields}
    folder = write_app(tmp_path, {**ENTRIES, "client": client})
    with pytest.raises(ConfigurationError, match=re.escape(problem)):
        Node.from_path(folder)


def test_a_variable_for_the_key_that_is_not_set_is_named(tmp_path: Path) -> None:
    auth = {"type": "api_key", "api_key_env": "PERDURE_NO_SUCH_KEY"}
    client = {"kind": "temporal.client", "address": "127.0.0.1:1", "auth": auth}
    with Node.from_path(write_app(tmp_path, {**ENTRIES, "client": client})) as node:
        status = {each.id: each for each in node.services()}["app:client"]
        assert status.error is not None
        assert "the variable PERDURE_NO_SUCH_KEY" in status.error.message


def test_a_rate_of_none_is_refused(tmp_path: Path) -> None:
    rate = {"worker_activities_per_second": 0}
    worker = {**ENTRIES["worker"], "worker_options": rate}
    client = {"kind": "temporal.client", "address": "x:1"}
    with pytest.raises(ConfigurationError, match=r"activities_per_second: 0 is out of range"):
        load(write_app(tmp_path, {**ENTRIES, "worker": worker, "client": client}))


def test_the_server_gives_runs_to_the_version_that_is_current(
    tmp_path: Path, temporal_server: DevServer
) -> None:
    client = {"kind": "temporal.client", "address": temporal_server.address, "tq_prefix": "v/"}
    worker = {**ENTRIES["worker"], "worker_options": VERSIONED}
    folder = write_app(tmp_path, {**ENTRIES, "worker": worker, "client": client})

    async def make_current() -> None:
        connected = await Client.connect(temporal_server.address)
        request = SetWorkerDeploymentCurrentVersionRequest(
            namespace="default", deployment_name="shop", build_id="v7"
        )
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    service = connected.workflow_service
                    await service.set_worker_deployment_current_version(request)
                    return
                except RPCError:  # the server hears of a version by the first poll
                    await asyncio.sleep(0.05)

    async def version_of(workflow_id: str) -> tuple[str, str]:
        connected = await Client.connect(temporal_server.address)
        told = await connected.get_workflow_handle(workflow_id).describe()
        found = told.raw_description.workflow_execution_info.versioning_info.deployment_version
        return found.deployment_name, found.build_id

    with Node.from_path(folder) as node:
        asyncio.run(make_current())
        pid = node.spawn("app:flow", "app:worker", 4, options={"workflow.id": "versioned"})
        assert node.result(pid, PATIENCE) == 8
    assert asyncio.run(version_of("versioned")) == ("shop", "v7")


def test_what_the_sdk_says_goes_to_the_log_and_not_to_the_output_of_a_command(
    tmp_path: Path,
    temporal_server: DevServer,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    entries = {
        **ENTRIES,
        "client": {"kind": "temporal.client", "address": temporal_server.address},
        "length": lua("workflow", "return #(...)"),
        "stuck": lua("workflow", "error('not yet')", on_error="suspend"),
    }
    overrides = [f"app:client:tq_prefix={tmp_path}/"]
    with Node.from_path(write_app(tmp_path, entries), overrides) as node:
        pid = node.spawn("app:length", "app:worker", "x" * 600_000)
        assert node.result(pid, PATIENCE) == 600_000
        stuck = node.spawn("app:stuck", "app:worker")
        eventually(lambda: "exceeded the warning limit" in caplog.text)
        eventually(lambda: "Failed activation on workflow app:stuck" in caplog.text)
        node.terminate(stuck)
    assert "not yet" in caplog.text
    assert "Traceback" not in caplog.text
    assert capfd.readouterr().out == ""


def test_without_the_extra_the_check_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError) as wrong:
        Node.from_path(app(tmp_path, address="127.0.0.1:1"))
    assert 'pip install "perdure[temporal]"' in str(wrong.value)


def test_options_that_a_journal_does_not_have_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker = {**ENTRIES["worker"], "worker_options": {"identity": "me"}}
    client = {"kind": "journal.lmdb", "path": "j"}
    folder = write_app(tmp_path, {**ENTRIES, "worker": worker, "client": client})
    with Node.from_path(folder) as node:
        assert node.result(node.spawn("app:flow", "app:worker", 2), PATIENCE) == 4
    assert "app:worker: worker_options.identity has no effect on a journal.lmdb" in caplog.messages
