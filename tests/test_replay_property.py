"""Generated workflows, killed anywhere and rebuilt by replay, end like ones that never were."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.crash_lab import NodeProcess, effects_by_key, survive, until
from tests.durable_lab import HOST, durable_app

FUNCTIONS = """
def fails(n):
    raise PerdureError("Conflict", f"number {n}", True, {"n": n})
"""
CHILD = """
  local n = ...
  time.sleep("1ms")
  return {n, funcs.call("app:effect", "child", n)}
"""

#: Statements that may stand anywhere, also in coroutines; `out` collects what they saw.
_ANYWHERE = {
    "call": 'out[#out + 1] = funcs.call("app:effect", "call", {n})',
    "fail": """
      local _, err = funcs.call("app:fails", {n})
      out[#out + 1] = err:kind() .. tostring(err)""",
    "sleep": 'time.sleep("{n}ms")',
    "exec": 'out[#out + 1] = workflow.exec("app:child", {n})',
    "send": 'out[#out + 1] = process.send(peer, "n", {n})',
    "uuid": 'local id = uuid.v4() funcs.call("app:effect", "drawn", id) drawn[#drawn + 1] = id',
    "random": """
      local id = math.random(1 << 40) .. "/" .. time.now():unix_nano()
      funcs.call("app:effect", "drawn", id) drawn[#drawn + 1] = id""",
    "async": """
      local futures = {{}}
      for i = 1, {n} do futures[i] = funcs.async("app:effect", "async", i) end
      for i = {n}, 1, -1 do out[#out + 1] = futures[i]:response():receive():data() end""",
    "pairs": """
      for key, value in pairs({{c = {n}, a = 2, b = 3, [1] = 4, [true] = 5}}) do
        out[#out + 1] = {{tostring(key), funcs.call("app:effect", "pairs", value)}}
      end""",
    "pcall": """
      out[#out + 1] = {{pcall(function()
        funcs.call("app:effect", "then raises", {n})
        error("told to " .. {n}, 0)
      end)}}""",
    "version": 'out[#out + 1] = workflow.version("change {n}", 1, {n})',
    "log": 'print("number {n}")',
    "attrs": "out[#out + 1] = workflow.attrs({{search = {{n = {n}}}, memo = {{n = {n}}}}})",
}
#: Statements that only the main coroutine may make, so that their results do not race.
_MAIN = {
    "signal": "out[#out + 1] = inbox:receive().n",
    "select": """
      local timer = time.timer("1h")
      local got = channel.select{{timer:channel():case_receive(), inbox:case_receive()}}
      timer:stop()
      out[#out + 1] = got.value.n""",
    "spawn": """
      assert(process.spawn("app:child", "app:orders", {n}))
      out[#out + 1] = events:receive().result.value""",
    "cancel": """
      local future = funcs.async("app:effect", "cancelled", {n})
      future:cancel()""",
}


@dataclass
class Program:
    """The body of a workflow, and how many signals it waits for."""

    lines: list[str] = field(default_factory=list)
    signals: int = 0

    def source(self) -> str:
        body = "\n".join(self.lines)
        return f"""
          local peer = ...
          local inbox, events = process.inbox(), process.events()
          local out, drawn = {{}}, {{}}
          {body}
          process.send(peer, "end")
          return {{out = out, drawn = drawn}}
        """


def _anywhere() -> st.SearchStrategy[str]:
    made = st.tuples(st.sampled_from(sorted(_ANYWHERE)), st.integers(1, 4))
    return made.map(lambda it: f"do {_ANYWHERE[it[0]].format(n=it[1])} end")


def _parallel() -> st.SearchStrategy[str]:
    def spawned(blocks: list[list[str]]) -> str:
        made = [
            f"""coroutine.spawn(function()
              local out, drawn = outs[{i}], drawn
              {" ".join(block)}
              done:send(true)
            end)"""
            for i, block in enumerate(blocks, 1)
        ]
        tables = ", ".join("{}" for _ in blocks)
        return f"""do
          local outs, done = {{{tables}}}, channel.new()
          {" ".join(made)}
          for _ = 1, #outs do done:receive() end
          out[#out + 1] = outs
        end"""

    return st.lists(st.lists(_anywhere(), min_size=1, max_size=3), min_size=2, max_size=3).map(
        spawned
    )


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A program of up to eight statements."""
    program = Program()
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["anywhere", "anywhere", "parallel", *_MAIN]))
        if kind == "anywhere":
            program.lines.append(draw(_anywhere()))
        elif kind == "parallel":
            program.lines.append(draw(_parallel()))
        else:
            program.lines.append(f"do {_MAIN[kind].format(n=draw(st.integers(1, 4)))} end")
            program.signals += kind in ("signal", "select")
    return program


#: Where to die: at which pass of which point, boot by boot.
crashes = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "journal.commit.before",
                "journal.commit.after",
                "journal.done.after",
                "host.step.after",
                "host.effect.before",
                "host.effect.after",
            ]
        ),
        st.integers(1, 12),
    ).map(lambda it: f"{it[0]}:{it[1]}"),
    min_size=1,
    max_size=4,
)

PEER = """
  local heard = {}
  while true do
    local msg = process.inbox():receive()
    if msg:topic() == "end" then return heard end
    heard[#heard + 1] = msg:payload():data()
  end
"""


def outcome(folder: Path, program: Program, faults: list[str]) -> Any:
    """What a program returns, what its peer heard, and which effects it had, in no order."""
    workflows = {"program": program.source(), "child": CHILD, "peer": PEER}
    app = durable_app(folder, workflows, FUNCTIONS, ("fails",))

    def script(node: NodeProcess) -> Any:
        peer = node.spawn("app:peer", HOST, key="peer", options={"workflow.id": "peer"})
        pid = node.spawn("app:program", HOST, peer, key="it", options={"workflow.id": "it"})
        for n in range(program.signals):
            node.send(pid, "signal", {"n": n}, key=str(n))
        until(lambda: node.row("it")["status"] != "open")
        assert node.row("it")["status"] == "completed", node.row("it")
        return node.result(pid), node.result(peer)

    (result, heard), _ = survive(app, script, *faults)
    done = effects_by_key(app)
    drawn = [args[0] for name, args in done if name == "drawn"]
    assert sorted(drawn) == sorted(result["drawn"]), "what was drawn stayed what it was"
    # A cancelled function may have run, or not.
    others = [effect for effect in done if effect[0] not in ("drawn", "cancelled")]
    return result["out"], sorted(heard), sorted(others, key=repr)


def compare(program: Program, faults: list[str]) -> None:
    with TemporaryDirectory() as folder:
        undisturbed = outcome(Path(folder) / "undisturbed", program, [])
        disturbed = outcome(Path(folder) / "disturbed", program, faults)
    assert disturbed == undisturbed


_CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=10, deadline=None, suppress_health_check=_CHECKS)
@given(programs(), crashes)
def test_a_generated_workflow_survives(program: Program, faults: list[str]) -> None:
    compare(program, faults)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(max_examples=400, deadline=None, suppress_health_check=_CHECKS)
@given(programs(), crashes)
def test_many_generated_workflows_survive(program: Program, faults: list[str]) -> None:
    compare(program, faults)
