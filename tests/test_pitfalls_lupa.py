"""What is known to bite users of lupa does not bite here: a test for each pitfall.

What could end the interpreter runs in a child process.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import lupa.lua54
import pytest

from runtime import commands as c
from runtime import inputs
from runtime.codec import decode, encode, encode_args
from runtime.errors import PerdureError
from runtime.lua.machine import OutOfMemoryError
from tests.cli_lab import running, write
from tests.machine_harness import Node, entry, error_of, run

ROOT = Path(__file__).parent.parent
KILLED = "process killed: out of "


def in_child(code: str) -> str:
    """What a child prints that runs this; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# Memory -------------------------------------------------------------------------------------------


def test_a_push_over_the_limit_does_not_abort_the_process() -> None:
    """A batch four times as large as the VM may be: the VM is lost, and told so."""
    printed = in_child("""
        from runtime.lua.machine import OutOfMemoryError
        from tests.machine_harness import Node
        node = Node({"main": "process.inbox():receive()"}, memory=10 << 20)
        pid = node.start("main")
        node.step()
        try:
            node.send(pid, "t", b"x" * (60 << 20))
        except OutOfMemoryError as error:
            print(error)
    """)
    assert "the VM grew past" in printed


def test_nor_does_what_a_python_function_returns() -> None:
    printed = in_child("""
        from runtime.lua import bridge
        bridge.FUNCTIONS["entropy"] = lambda size: b"x" * (64 << 20)
        from tests.machine_harness import Node, error_of
        node = Node({"main": "for i = 1, 100 do pcall(uuid.v4) end"}, memory=10 << 20)
        print(error_of(lambda: node.run("main")).message)
    """)
    assert printed.startswith(KILLED + "memory")


def test_a_limit_set_later_holds() -> None:
    """`max_memory` must be given when the runtime is made, or no later limit counts."""
    source = "local t = {} for i = 1, 1e7 do t[i] = ('x'):rep(1000) .. i end return #t"
    with pytest.raises(
        OutOfMemoryError
    ):  # without fuel there is no hook that could tell who it was
        run(source, fuel=0, memory=10 << 20)
    error = error_of(lambda: run(source, fuel=1 << 40, memory=10 << 20))
    assert error.message.startswith(KILLED + "memory")


def test_a_memory_error_that_is_caught_is_the_end_all_the_same() -> None:
    source = """
        local kept = {}
        local function grow() while true do kept[#kept + 1] = {1, 2, 3} end end
        while true do pcall(grow) print("caught") end
    """
    node = Node({"main": source}, fuel=2_000_000_000, memory=20 << 20)
    error = error_of(lambda: node.run("main"))
    assert error.message.startswith(KILLED + "memory")
    assert node.logged() == []


def test_a_memory_error_in_the_scheduler_is_the_end_of_the_vm_and_no_more() -> None:
    node = Node({"main": "process.inbox():receive()"}, memory=10 << 20)
    pids = [node.start("main") for _ in range(20)]
    node.step()
    batch = [
        inputs.message(pid, "t", "", encode_args([[float(i) for i in range(100_000)]]))
        for pid in pids
    ]
    with pytest.raises(OutOfMemoryError, match="the VM grew past 15728640 bytes"):
        node.machine.step(batch)
    assert run("return 1") == 1


# What runs on -------------------------------------------------------------------------------------

RUNS_ON = {
    "a hook that raises once": "while true do pcall(function() while true do end end) end",
    "one counter a coroutine": "while true do coroutine.wrap(function() end)() end",
    "coroutines kept": "local t = {} while true do t[#t + 1] = coroutine.create(print) end",
    "resume": """
        local function loop() while true do end end
        while true do coroutine.resume(coroutine.create(loop)) end
    """,
    "a handler inside the hook": """
        local function loop() while true do end end
        while true do xpcall(loop, function() print("seen") loop() end) end
    """,
    "what is to be closed": """
        local c <close> = setmetatable({}, {__close = function() print("seen") end})
        while true do end
    """,
    "a C function without hooks": "while true do string.find(('a'):rep(30000), '.-.-.-.-b$') end",
    "rep": "while true do ('x'):rep(1 << 26) end",
    "rep without a length": "while true do ('x'):rep(1 << 50) end",
    "move": "while true do table.move({}, 1, 9999999, 2) end",
    "concat": "local t = {} for i = 1, 1000 do t[i] = ('x'):rep(1000) end while true do "
    "table.concat(t) end",
    "unpack": "while true do pcall(table.unpack, {}, 1, 99999) end",
    "sort": "local t = {} for i = 1, 10000 do t[i] = -i end while true do table.sort(t) end",
    "sort by nonsense": "table.sort({3, 1, 2}, function() while true do end end)",
}


@pytest.mark.parametrize("name", RUNS_ON)
def test_what_runs_on_dies_soon(name: str) -> None:
    """Two million instructions: an attack is over in a small part of a second of its own."""
    node = Node({"main": RUNS_ON[name]}, fuel=2_000_000, memory=512 << 20)
    pid = node.start("main")
    began = time.thread_time()
    node.step()
    took = time.thread_time() - began
    error = error_of(lambda: node.result(pid))
    # Sizes that are refused outright end it with an error of their own.
    assert error.message.startswith(KILLED + "fuel") or "more than" in error.message
    assert "seen" not in node.logged()
    assert took < 3


def test_a_finalizer_that_would_loop_is_refused() -> None:
    source = """
        local loop = {__gc = function() while true do end end}
        local later = {}
        return {(pcall(setmetatable, {}, loop)), pcall(function()
          local t = setmetatable({}, later)
          later.__gc = loop.__gc
          setmetatable({}, later)
        end)}
    """
    found = run(source)
    assert found[:2] == [False, False]
    assert "__gc" in found[2]


def test_one_that_is_added_later_never_runs() -> None:
    """Lua looks for __gc when a metatable is set, and only then."""
    source = """
        local later = {}
        for i = 1, 100 do setmetatable({}, later) end
        later.__gc = function() print("finalized") end
        local t = {} for i = 1, 200000 do t = {t = {}} end
        return "done"
    """
    node = Node({"main": source})
    assert node.run("main") == "done"
    assert node.logged() == []


SPINNING = {
    "app.yaml": """
version: "1.0"
namespace: app
entries:
  - name: host
    kind: process.host
    host: {workers: 1}
    limits: {fuel: 0}
    lifecycle: {auto_start: true, stop_timeout: 200ms}
  - name: spin
    kind: process.lua
    modules: [time]
    source: |
      print("spinning")
      time.sleep("1ms")
      while true do end
  - {name: spinner, kind: process.service, process: spin, host: host,
     lifecycle: {auto_start: true, stop_timeout: 200ms}}
"""
}


def test_signals_are_heard_while_lua_runs(tmp_path: Path) -> None:
    """Lua runs in threads of its own, and Python's handlers in the main one, which is free."""
    with running(write(tmp_path / "app", SPINNING)) as node:
        if not any("spinning" in line for line in node.log):
            node.wait_for("spinning")
        node.signal(signal.SIGTERM)
        assert node.ended() == 1, "what cannot be stopped is named"
        assert any("app:host" in line and "did not stop" in line for line in node.log), node.log


def test_other_threads_run_while_lua_runs() -> None:
    node = Node({"main": "while true do end"}, fuel=200_000_000)
    pid = node.start("main")
    worker = threading.Thread(target=node.step)
    worker.start()
    turns = 0
    while worker.is_alive():
        turns += 1
        time.sleep(0)
    assert error_of(lambda: node.result(pid)).message.startswith(KILLED + "fuel")
    assert turns > 10


# The sandbox --------------------------------------------------------------------------------------


def test_nothing_of_python_or_of_the_system_is_there() -> None:
    source = """
        local found = {}
        for _, name in ipairs{"python", "io", "os.execute", "os.exit", "os.getenv", "os.remove",
            "package", "debug", "dofile", "loadfile", "string.dump", "require.python"} do
          local value = load("return " .. name)
          local ok, v = pcall(value)
          if ok and v ~= nil then found[#found + 1] = name end
        end
        return found
    """
    assert Node({"main": entry(source, modules=[])}).run("main") == []


def test_no_function_that_user_code_can_name_is_one_of_python() -> None:
    """Those of lupa are userdata, and the bridge's are behind functions of Lua."""
    source = """
        local found, seen = {}, {}
        local function look(path, v, depth)
          if type(v) == "userdata" then found[#found + 1] = path end
          if type(v) ~= "table" or seen[v] or depth > 3 then return end
          seen[v] = true
          for key, item in pairs(v) do look(path .. "." .. tostring(key), item, depth + 1) end
        end
        for _, name in ipairs{...} do look(name, _G[name], 0) end
        return found
    """
    definition = entry(source)
    names = ["string", "table", "math", "os", "coroutine", "process", "channel", "errors"]
    node = Node({"main": definition})
    ours = {"time.utc", "time.localtz"}  # objects of the runtime: tables that say they are userdata
    assert set(node.run("main", *names, *definition.modules)) == ours


def test_load_takes_text_only() -> None:
    code = lupa.lua54.LuaRuntime(encoding=None).execute(
        b"return string.dump(load('return 1'), true)"
    )
    source = """
        local bytes, results = ..., {}
        for _, mode in ipairs{"b", "bt", "t"} do
          local f, err = load(bytes, "x", mode)
          results[#results + 1] = f == nil and err:find("binary chunk") ~= nil
        end
        return results
    """
    assert run(source, code) == [True, True, True]


def test_the_table_of_string_functions_is_not_handed_out() -> None:
    source = """
        local before = ("x").upper
        pcall(rawset, string, "upper", print)
        return {getmetatable("") == false, ("x").upper == before,
          (pcall(setmetatable, "", {})), (pcall(function() ("x").upper = 1 end))}
    """
    assert run(source) == [True, True, False, False]


# Crossing -----------------------------------------------------------------------------------------


def test_what_waits_never_waits_across_c() -> None:
    source = """
        local waits = setmetatable({}, {__tostring = function() time.sleep("1ms") return "x" end})
        local ok, err = pcall(tostring, waits)
        local _, other = pcall(error, waits)
        return {ok, err:kind(), err:message(), rawequal(other, waits)}
    """
    assert run(source) == [
        False,
        "Invalid",
        "cannot wait inside tostring: it runs in C, which cannot be suspended",
        True,
    ]


@pytest.mark.parametrize(
    "value",
    [
        {"a": [{"b": [1, [2, {"c": 3.5}]]}]},
        2**63 - 1,
        -(2**63),
        0.0,
        b"\xff\x00\xfe",
        "\x00 é",
    ],
    ids=repr,
)
def test_values_cross_as_they_are(value: object) -> None:
    assert run("return (...)", value) == value


def test_nil_inside_a_list_does_not_cut_it_short() -> None:
    source = "local list = ... return {list, list[1], list[2] == nil, list[3]}"
    assert run(source, [1, None, 3]) == [{1: 1, 3: 3}, 1, True, 3]


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 10**30])
def test_integers_past_64_bits_are_refused_by_name(number: int) -> None:
    with pytest.raises(PerdureError, match="64") as error:
        encode([number])
    assert error.value.kind == "Invalid"


# Lives --------------------------------------------------------------------------------------------


def test_python_holds_nothing_of_a_coroutine() -> None:
    """Only functions of the prelude, whatever ran."""
    node = Node(
        {"main": "local t = {} coroutine.spawn(function() t.x = channel.new() end) return t"}
    )
    node.run("main")
    held = [type(each).__name__ for each in vars(node.machine).values()]
    found = sorted(name for name in held if "Lua" in name)
    assert found == ["LuaRuntime", "_LuaFunction", "_LuaFunction", "_LuaFunction", "_LuaFunction"]


def test_machines_come_and_go() -> None:
    """With objects of ended coroutines and cycles of their own; no crash, and nothing left."""
    printed = in_child("""
        import gc, resource
        from tests.machine_harness import Node
        SOURCE = '''
            local t = {}
            t.self = t
            for i = 1, 20 do
              coroutine.spawn(function()
                t[i] = coroutine.wrap(function() coroutine.yield(t) end)
                t[i]()
              end)
            end
            return #t
        '''
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        for i in range(120):
            assert Node({"main": SOURCE}).run("main") == 20
            if i % 10 == 0:
                gc.collect()
            if i == 20:
                before = peak()
        print(peak() - before)
    """)
    assert int(printed) < 40  # MB; a machine is about one


def test_a_second_thread_waits_for_the_first() -> None:
    node = Node({"main": "local n = 0 for i = 1, 3e6 do n = n + 1 end return n"}, fuel=0)
    results: list[list[c.Command]] = []
    lock = threading.Lock()

    def step(number: int) -> None:
        pid = f"{{app:processes|0x9{number}}}"
        item = inputs.start(pid, "app:main", encode_args([]), {"process": True})
        with lock:  # as VM workers do: the machine belongs to one thread at a time
            _, commands = node.machine.step([item])
        results.append(commands)

    threads = [threading.Thread(target=step, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ends = [each for commands in results for each in commands if isinstance(each, c.Ended)]
    assert [decode(each.value) for each in ends] == [3_000_000] * 4


def test_the_order_of_pairs_changes_from_start_to_start_and_not_in_workflows() -> None:
    code = """
        from tests.machine_harness import Run, run
        source = "local s = {} for k in pairs{%s} do s[#s + 1] = k end return table.concat(s, ' ')"
        source = source % ", ".join(f"key{i} = {i}" for i in range(30))
        workflow = Run(source)
        workflow.step()
        print(run(source), workflow.result(), sep="|")
    """
    starts = [in_child(code).split("|") for _ in range(4)]
    assert len({order for order, _ in starts}) > 1
    assert {order for _, order in starts} == {" ".join(sorted(f"key{i}" for i in range(30)))}
