"""Metrics: what user code counts, what the node counts of itself, and who can see it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts.modules import metrics
from hosts.modules.metrics import SERIES, Metrics
from runtime.codec import encode_args
from runtime.config.problems import ConfigurationError
from runtime.errors import Kind, PerdureError
from supervision.node import Node
from tests.cli_lab import perdure
from tests.durable_lab import durable_app
from tests.process_lab import PATIENCE, eventually, function, process, run, running, write_app

MODULES = ["metrics", "funcs"]

ENTRIES = {
    "counts": process(
        """
        local metrics = require("metrics")
        assert(metrics.counter_inc("orders_total", { kind = "new", express = true }))
        assert(metrics.counter_inc("orders_total", { kind = "new", express = true }))
        assert(metrics.counter_add("orders_total", 2.5, { kind = "old", express = 1 }))
        assert(metrics.gauge_set("queue", 7))
        assert(metrics.gauge_inc("queue"))
        assert(metrics.gauge_dec("queue"))
        assert(metrics.gauge_dec("queue"))
        assert(metrics.histogram("seconds", 0.2))
        assert(metrics.histogram("seconds", 3))
        return require("funcs").call("app:f")
        """,
        modules=MODULES,
    ),
    "f": function('return require("metrics").counter_inc("calls_total")', modules=MODULES),
    "clashes": process(
        """
        local metrics = require("metrics")
        metrics.counter_inc("thing_total", { a = 1 })
        for i = 1, 3 do metrics.counter_inc("thing_total", { b = 1 }) end
        metrics.gauge_set("thing_total", 5, { a = 1 })
        metrics.gauge_set("thing", 5)
        """,
        modules=MODULES,
    ),
    "wrong": process(
        """
        local metrics, wrong = require("metrics"), {}
        for i, call in ipairs({
            function() return metrics.counter_inc() end,
            function() return metrics.counter_inc("") end,
            function() return metrics.counter_inc("a-b") end,
            function() return metrics.counter_inc("perdure_processes") end,
            function() return metrics.counter_add("a", -1) end,
            function() return metrics.counter_add("a", "1") end,
            function() return metrics.gauge_set("a", 0 / 0) end,
            function() return metrics.gauge_set("a", math.huge) end,
            function() return metrics.histogram("a") end,
            function() return metrics.counter_inc("a", "x") end,
            function() return metrics.counter_inc("a", { [1] = "x" }) end,
            function() return metrics.counter_inc("a", { le = "x" }) end,
            function() return metrics.counter_inc("a", { b = {} }) end,
        }) do
            local value, err = call()
            wrong[i] = { value == nil, err:kind(), err:message() }
        end
        return wrong
        """,
        modules=MODULES,
    ),
}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with running(tmp_path, ENTRIES) as node:
        yield node


def value(node: Node, name: str, **labels: str) -> float | None:
    """A figure by its name and labels."""
    found = [each.value for each in node.metrics() if (each.name, each.labels) == (name, labels)]
    assert len(found) <= 1
    return found[0] if found else None


def ended(node: Node, status: str) -> float | None:
    return value(node, "perdure_runs_ended_total", host="app:orders", status=status)


def test_counters_gauges_and_histograms_hold_what_was_told(node: Node) -> None:
    assert run(node, "app:counts", "app:one") is True
    assert value(node, "orders_total", kind="new", express="true") == 2
    assert value(node, "orders_total", kind="old", express="1") == 2.5
    assert value(node, "queue") == 6
    assert value(node, "seconds_count") == 2
    assert value(node, "seconds_sum") == 3.2
    assert value(node, "seconds_bucket", le="0.25") == 1
    assert value(node, "seconds_bucket", le="+Inf") == 2
    assert value(node, "calls_total") == 1


def test_the_node_counts_itself(tmp_path: Path) -> None:
    source = "process.inbox():receive() return 1"
    app = durable_app(tmp_path / "app", {"main": source, "fails": "error('no')"})
    with Node.from_path(app) as node:
        pid = node.spawn("app:main", "app:orders")
        assert value(node, "perdure_runs_live", host="app:orders") == 1
        node.send(pid, "go on")
        node.result(pid, PATIENCE)
        with pytest.raises(PerdureError):
            node.result(node.spawn("app:fails", "app:orders"), PATIENCE)
        with pytest.raises(PerdureError):
            node.send("{app:processes|0x1}", "lost")
        assert value(node, "perdure_runs_started_total", host="app:orders") == 2
        for status in ("completed", "failed"):
            eventually(lambda status=status: ended(node, status) == 1)  # type: ignore[misc]
        assert value(node, "perdure_dead_letters_total") == 1
        assert value(node, "perdure_processes", host="app:processes") == 0
        assert value(node, "perdure_services", state="running") == 3
        commits = value(node, "perdure_journal_commits_total", journal="app:journal")
        units = value(node, "perdure_journal_units_total", journal="app:journal")
        assert commits is not None
        assert units is not None
        assert 3 <= commits <= units
        published = value(node, "perdure_events_published_total")
        assert published == 6  # each service is starting, then running
        node.events.publish("a", "b", "c")
        assert value(node, "perdure_events_published_total") == published + 1


def test_processes_and_what_full_inboxes_lose_are_counted_by_host(tmp_path: Path) -> None:
    small = {"kind": "process.host", "limits": {"inbox": {"size": 2, "policy": "drop_oldest"}}}
    entries = {"small": small, "deaf": process("process.events():receive()")}
    with running(tmp_path, entries) as node:
        pid = node.spawn("app:deaf", "app:small")
        for _ in range(5):
            node.send(pid, "hello")
        assert value(node, "perdure_processes", host="app:small") == 1
        assert value(node, "perdure_inbox_dropped_total", host="app:small") == 3
        node.cancel(pid)
        eventually(lambda: value(node, "perdure_processes", host="app:small") == 0)


def test_one_name_is_one_metric_and_a_clash_is_logged_once(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "hosts.modules.metrics"):
        run(node, "app:clashes", "app:one")
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert (
        "metric thing_total is a counter with the labels a, not a counter with the labels b"
        in (texts[0])
    )
    assert "metric thing:" in texts[1]
    assert value(node, "thing_total", a="1") == 1


def test_labels_of_endless_values_do_not_fill_the_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    figures = Metrics(list)
    for number in range(SERIES + 5):
        figures.ask("counter", "{p|1}", encode_args(["a_total", 1, {"id": number}]), None)
    assert len(figures.samples()) == SERIES
    assert caplog.text.count("give labels few values") == 1


def test_wrong_arguments_are_invalid(node: Node) -> None:
    wrong = run(node, "app:wrong", "app:one")
    assert [each[:2] for each in wrong] == [[True, "Invalid"]] * 13
    texts = [each[2] for each in wrong]
    assert texts[0] == "metrics.counter_inc: name must be letters, digits, _ and :, got nil"
    assert texts[3].endswith("names that begin with perdure_ are the node's own")
    assert texts[4] == "metrics.counter_add: value must be 0 or more, got -1"
    assert texts[8] == "metrics.histogram: value must be a finite number, got nil"
    assert (
        texts[12] == 'metrics.counter_inc: label "b" must be a text, number or boolean, got a table'
    )


WORKFLOW = """
- name: durable
  kind: workflow.lua
  modules: [metrics]
  source: |
    local metrics = require("metrics")
    metrics.counter_inc("steps_total")
    process.inbox():receive()
    metrics.counter_inc("steps_total")
    return 1
"""


def test_a_replay_counts_nothing(tmp_path: Path) -> None:
    app = durable_app(tmp_path / "app", {}, entries=WORKFLOW)
    with Node.from_path(app) as node:
        pid = node.spawn("app:durable", "app:orders")
        eventually(lambda: value(node, "steps_total") == 1)
    with Node.from_path(app) as node:
        node.send(pid, "go on")
        assert node.result(pid, PATIENCE) == 1
        eventually(lambda: value(node, "steps_total") == 1)


def test_the_command_shows_all(node: Node) -> None:
    run(node, "app:counts", "app:one")
    shown = perdure("metrics", "--app", str(node.folder))
    assert "METRIC" in shown.stdout
    assert any(
        line.split() == ["orders_total", "counter", "express=true,", "kind=new", "2"]
        for line in shown.stdout.splitlines()
    )
    rows = perdure("metrics", "--json", "--app", str(node.folder)).stdout.splitlines()
    assert {"name": "queue", "kind": "gauge", "labels": {}, "value": 6.0} in map(json.loads, rows)
    text = perdure("metrics", "--prometheus", "--app", str(node.folder)).stdout
    assert 'orders_total{express="true",kind="new"} 2.0' in text
    assert "# TYPE perdure_processes gauge" in text
    assert 'perdure_processes{host="app:one"}' in text
    assert "# HELP perdure_dead_letters_total Messages that found nobody." in text


def test_without_the_library_an_application_that_needs_it_says_so_at_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "available", lambda: False)
    with pytest.raises(ConfigurationError, match=r'pip install "perdure\[metrics\]"'):
        Node.from_path(write_app(tmp_path, ENTRIES))
    other: dict[str, Any] = {"idle": process("return 1")}
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with running(tmp_path, other) as node:
        assert value(node, "perdure_dead_letters_total") == 0
        with pytest.raises(PerdureError) as raised:
            node.metrics_text()
        assert raised.value.kind == Kind.UNAVAILABLE
