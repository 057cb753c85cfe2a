"""A signal in the midst of work: nothing new starts, each gets its time, workflows stay on disk."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from supervision.node import Node
from tests.cli_lab import HEAD, running, write
from tests.process_lab import PATIENCE

APP = {
    "app.yaml": HEAD
    + """
  - {name: journal, kind: journal.lmdb, path: ./journal}
  - {name: orders, kind: workflow.host, journal: journal, workers: 1}
  - name: processes
    kind: process.host
    host: {workers: 1}
    lifecycle: {stop_timeout: 1s}
  - name: top
    kind: process.supervisor
    strategy: one_for_one
    intensity: {restarts: 1000000}
    children: [stubborn, busy, crashing]
    lifecycle: {auto_start: true}
  - name: stubborn
    kind: process.service
    process: deaf
    host: processes
    lifecycle: {stop_timeout: 1s}
  - name: busy
    kind: process.service
    process: spawner
    host: processes
    lifecycle: {requires: [orders], stop_timeout: 1s}
  - {name: crashing, kind: process.service, process: crasher, host: processes}
  - name: deaf
    kind: process.lua
    source: |
      process.events()
      while true do process.inbox():receive() end
  - name: spawner
    kind: process.lua
    modules: [time]
    source: |
      process.registry.register("busy")
      local events, workflows, told = process.events(), 0, false
      while true do
        local _, err = process.spawn("app:brief", "app:processes")
        if err and not told then
          print("refused:", err:message())
          told = true
        end
        if workflows < 50 then
          workflows = workflows + 1
          assert(process.spawn("app:order", "app:orders", workflows))
          if workflows == 50 then print("fifty orders") end
        end
        time.sleep("1ms")
      end
  - {name: brief, kind: process.lua, modules: [time], source: 'time.sleep("5ms")'}
  - name: crasher
    kind: process.lua
    modules: [time]
    source: |
      local events, timer = process.events(), time.after("50ms")
      local got = channel.select{events:case_receive(), timer:case_receive()}
      if got.channel ~= events then error("it crashes every now and then") end
  - name: order
    kind: workflow.lua
    source: |
      local number = ...
      return number, nil, process.inbox():receive()
""",
}


def test_a_signal_under_load(tmp_path: Path) -> None:
    app = write(tmp_path / "app", APP)
    with running(app, until="fifty orders") as node:
        node.signal(signal.SIGTERM)
        assert node.ended() == 0
    log = node.log[next(i for i, line in enumerate(node.log) if "stopping (SIGTERM)" in line) :]
    assert "a second signal stops at once" in log[0]
    steps = [
        found.groups() for line in log if (found := re.search(r"(app:\w+) .* is (\w+)$", line))
    ]
    in_order = ["app:top", "app:crashing", "app:busy", "app:stubborn", "app:processes"]
    assert [each for each, state in steps if state == "stopping" and each in in_order] == in_order
    assert steps.index(("app:orders", "stopped")) < steps.index(("app:journal", "stopping"))
    assert {each for each, state in steps if state == "stopped"} == {
        "app:orders", "app:journal", *in_order
    }  # fmt: skip
    assert not any(state in ("starting", "running", "failed") for _, state in steps)
    assert any("app:processes is stopping: it starts nothing new" in each for each in log)
    named = r"app:stubborn: its process \{.*\} did not end within \S+ of CANCEL: it is terminated"
    assert any(re.search(named, each) for each in log)
    assert "stopped in" in log[-1]

    with Node.from_path(app, ["app:top:lifecycle.auto_start=false"]) as again:
        (host,) = again.workflow_hosts()
        open_runs = [row for _, row in host.runs(open_only=True)]
        assert len(open_runs) == 50
        for row in open_runs:
            again.send(f"{{app:orders|{row.workflow_id}}}", "go", "on")
        results = {again.result(f"{{app:orders|{row.workflow_id}}}", PATIENCE) for row in open_runs}
        assert results == set(range(1, 51))
