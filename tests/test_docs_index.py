"""The index of the Lua surface names every function, and says right what it is in a workflow."""

from __future__ import annotations

import re
from typing import Final

import pytest

from runtime import commands as c
from runtime.errors import Kind
from tests.docs_lab import DOCS
from tests.machine_harness import Run
from tests.surface_lab import surface

INDEX: Final = (DOCS / "lua/README.md").read_text(encoding="utf-8")
ROWS: Final = re.findall(r"^\| (`[^|]*) \| (\w+)[^|]*\|$", INDEX, flags=re.MULTILINE)
CLASS_OF: Final = {name: kind for names, kind in ROWS for name in re.findall(r"`([^`]+)`", names)}


def names(kind: str) -> list[str]:
    return sorted(name for name, each in CLASS_OF.items() if each == kind)


def test_every_function_is_in_the_index_and_nothing_else_is() -> None:
    assert sorted(CLASS_OF) == sorted(surface())
    assert len(CLASS_OF) == sum(len(re.findall("`[^`]+`", names)) for names, _ in ROWS)
    assert set(CLASS_OF.values()) == {"pure", "recorded", "silent", "refused"}


def test_every_page_that_the_index_names_is_there() -> None:
    for page in re.findall(r"\]\((\w+\.md)\)", INDEX):
        assert (DOCS / "lua" / page).is_file(), page


def commands_of(lua: str) -> list[c.Command]:
    workflow = Run(lua)
    workflow.step()
    return workflow.node.commands


#: How to call what the name alone does not say.
REFUSED: Final = {
    "process.monitor": "process.monitor('{app:x|1}')",
    "process.unmonitor": "process.unmonitor('{app:x|1}')",
    "process.link": "process.link('{app:x|1}')",
    "process.unlink": "process.unlink('{app:x|1}')",
    "events.send": "events.send('system', 'kind', 'path')",
    "events.subscribe": "events.subscribe('system')",
    "store.get": "store.get('app:store')",
    "io.write": "io.write('x')",
    "io.print": "io.print('x')",
    "io.flush": "io.flush()",
    "io.args": "io.args()",
    "io.eprint": "io.eprint('x')",
    "io.read": "io.read()",
    "io.readline": "io.readline()",
    "registry.apply_version": "registry.apply_version(1)",
}


def test_what_is_refused_has_a_call_here() -> None:
    unreachable = {name for name in names("refused") if ":" in name}
    assert set(REFUSED) == set(names("refused")) - unreachable


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_invalid_in_a_workflow_and_does_nothing(name: str) -> None:
    workflow = Run(f"local v, e = {REFUSED[name]} return {{v == nil, e:kind()}}")
    workflow.step()
    assert workflow.result() == [True, Kind.INVALID]
    assert [type(command) for command in workflow.node.commands] == [c.Ended]


@pytest.mark.parametrize("name", names("silent"))
def test_what_is_silent_is_not_done_by_a_replay(name: str) -> None:
    call = f"require('logger'):{name.partition(':')[2]}" if name.startswith("logger:") else name
    value = "" if name.endswith(("_inc", "_dec")) else ", 1"
    workflow = Run(f"{call}('x'{value})" if name.startswith("metrics.") else f"{call}('x')")
    live = workflow.step()
    assert len(live) == 2
    again = workflow.replay().commands
    assert [type(command) for command in again] == [c.Ended]


#: What draws a value, a clock or a message; the command that records it.
VALUES: Final = {
    "uuid.v1()", "uuid.v4()", "uuid.v7()", "crypto.random.bytes(3)", "crypto.random.string(3)",
    "crypto.random.uuid()", "crypto.encrypt.aes('d', ('k'):rep(16))",
    "crypto.encrypt.chacha20('d', ('k'):rep(32))", "workflow.version('change', 1, 2)",
}  # fmt: skip


@pytest.mark.parametrize("call", sorted(VALUES))
def test_what_draws_a_value_records_it(call: str) -> None:
    assert CLASS_OF[call.partition("(")[0]] == "recorded"
    assert any(isinstance(command, c.Value) for command in commands_of(call))


REQUESTS: Final = {
    "funcs.call('app:f')": c.Call,
    "funcs.async('app:f')": c.Call,
    "process.send('{app:x|1}', 't')": c.Send,
    "process.spawn('app:p', 'app:h')": c.Spawn,
    "process.exec('app:p', 'app:h')": c.Spawn,
    "process.terminate('{app:x|1}')": c.Control,
    "process.cancel('{app:x|1}')": c.Control,
    "process.registry.register('n')": c.Name,
    "process.registry.lookup('n')": c.Name,
    "process.registry.unregister('n')": c.Name,
    "time.sleep(1)": c.StartTimer,
    "time.after(1)": c.StartTimer,
    "time.timer(1)": c.StartTimer,
    "time.ticker(1)": c.StartTimer,
    "workflow.exec('app:w')": c.Spawn,
    "env.get('X')": c.Ask,
    "env.get_all()": c.Ask,
    "env.set('X', 'y')": c.Ask,
}


@pytest.mark.parametrize("call", REQUESTS)
def test_what_asks_the_world_is_a_command_whose_answer_is_recorded(call: str) -> None:
    assert CLASS_OF[call.partition("(")[0]] == "recorded"
    assert any(isinstance(command, REQUESTS[call]) for command in commands_of(call))
