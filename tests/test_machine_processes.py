"""Processes of one machine: messages, events, spawning, links, names. No host is asked."""

from __future__ import annotations

from typing import Any

import pytest

from runtime import commands as c
from runtime import inputs
from runtime.codec import decode, encode, encode_args
from runtime.errors import Kind, PerdureError
from tests.machine_harness import HOST, Node, entry, error_of, payload, run

ECHO = """
    local inbox = process.inbox()
    while true do
      local msg = inbox:receive()
      process.send(msg:from(), "echo", msg:topic(), msg:payload() and msg:payload():data())
    end
"""
IDLE = "process.inbox():receive()"


def test_a_message_is_copied_and_knows_where_it_comes_from() -> None:
    node = Node(
        {
            "main": """
                local child = process.spawn("app:child", "app:processes")
                local t = {n = 1, f = 1.0, s = "bytes\\xff", nested = {list =
                  {1, 2}}, e = require("errors").new{kind = "Conflict", message = "m"}}
                process.send(child, "data", t)
                t.n = 2
                return process.inbox():receive():payload():data()
            """,
            "child": """
                local msg = process.inbox():receive()
                local t = msg:payload():data()
                local facts = {
                  n = t.n, n_type = math.type(t.n), f_type = math.type(t.f), s = #t.s,
                  nested = t.nested.list[2], kind = t.e:kind(), topic = msg:topic(),
                  parent = msg:from() == "{app:processes|0x10010000000001}",
                }
                process.send(msg:from(), "facts", facts)
            """,
        }
    )
    assert node.run("main") == {
        "n": 1, "n_type": "integer", "f_type": "float", "s": 6, "nested": 2,
        "kind": "Conflict", "topic": "data", "parent": True,
    }  # fmt: skip


MESSAGES: dict[str, tuple[list[Any], str, Any]] = {
    "no payload": ([], "return {msg:payload() == nil, msg:topic(), "
    "msg:from()}", [True, "t", "{test|1}"]),
    "one payload": ([5], "return msg:payload():data()", 5),
    "a nil payload": ([None], "return {msg:payload() ~= nil, msg:payload():data() == "
    "nil}", [True, True]),
    "several payloads": (
        [1, None, "x"],
        "local p = msg:payload() return {#p, p[1]:data(), p[2]:data() == nil, p[3]:data()}",
        [3, 1, True, "x"],
    ),
    "fields read through": ([{"approved": True, "by": "ann"}], "return {msg.approved, msg.by}", [
        True, "ann"]),
    "elements of a list read through": ([[7, 8]], "return {msg[1], msg[2], msg[3] == nil}", [7,
        8, True]),
    "a field that is not there is nil": ([{"a": 1}], "return msg.b == nil", True),
    "methods win": (
        [{"topic": "mine"}],
        "return {msg:topic(), msg:payload():data().topic}",
        ["t", "mine"],
    ),
    "other payloads have no fields": (["text"], "return {msg.len == nil, msg[1] == nil}", [True,
        True]),
    "two tables have no fields": ([{"a": 1}, {"b": 1}], "return {msg.a == nil, msg[1] == nil}", [
        True, True]),
    "an error as payload": (
        [PerdureError(Kind.TIMEOUT, "late")],
        "return {msg:payload():data():kind(), msg.kind == nil}",
        ["Timeout", True],
    ),
    "it is userdata to users": (
        [{"a": 1}],
        "return {type(msg), type(msg:payload()), pcall(pairs, msg)}",
        ["userdata", "userdata", False, "bad argument #1 to 'pairs' (table expected, got message)"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_from_outside(name: str) -> None:
    args, body, expected = MESSAGES[name]
    node = Node({"main": f"local msg = process.inbox():receive()\n{body}"})
    pid = node.start("main")
    node.send(pid, "t", *args)
    assert node.result(pid) == expected


def test_a_message_or_payload_sent_on_sends_its_data() -> None:
    node = Node(
        {
            "main": """
                local child = process.spawn("app:child", "app:processes", process.pid())
                process.send(child, "one", {a = 1})
                process.send(child, "two", 1, 2)
                local inbox = process.inbox()
                return {inbox:receive():payload():data(), inbox:receive():payload():data(),
                  inbox:receive().a}
            """,
            "child": """
                local parent = ...
                local inbox = process.inbox()
                local one, two = inbox:receive(), inbox:receive()
                process.send(parent, "x", one)
                process.send(parent, "x", two)
                process.send(parent, "x", one:payload())
            """,
        }
    )
    assert node.run("main") == [{"a": 1}, [1, 2], 1]


LISTENING: dict[str, tuple[str, list[tuple[str, list[Any]]], Any]] = {
    "a listener gets raw values, the inbox the rest": (
        """
        local ch, inbox = process.listen("a"), process.inbox()
        return {(ch:receive()), inbox:receive():topic(), (ch:receive()), (ch:receive())}
        """,
        [("a", [1]), ("b", [2]), ("a", [3, 4]), ("a", [])],
        [1, "b", [3, 4]],
    ),
    "with messages when asked": (
        "local msg = process.listen('a', {message = true}):receive() return {msg:topic(), msg.x}",
        [("a", [{"x": 1}])],
        ["a", 1],
    ),
    "the same channel every time": (
        """
        return {process.listen("a") == process.listen("a"), process.inbox() == process.inbox(),
          process.events() == process.events()}
        """,
        [],
        [True, True, True],
    ),
    "after unlisten the inbox has it": (
        """
        local ch = process.listen("a")
        local first = ch:receive()
        assert(process.unlisten(ch))
        local again, err = process.unlisten(ch)
        local msg = process.inbox():receive()
        return {first, msg:topic(), select("#", ch:receive()), again == nil, err:kind()}
        """,
        [("a", [1]), ("a", [2])],
        [1, "a", 2, True, "Invalid"],
    ),
    "topics with @ are reserved": (
        """
        local a, e1 = process.listen("@a")
        local b, e2 = process.listen("")
        return {a == nil, e1:kind(), b == nil, e2:kind()}
        """,
        [],
        [True, "Invalid", True, "Invalid"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTENING)
def test_listening(name: str) -> None:
    source, messages, expected = LISTENING[name]
    node = Node({"main": source})
    pid = node.start("main")
    for topic, args in messages:
        node.send(pid, topic, *args)
    if not messages:
        node.step()
    assert node.result(pid) == expected


def test_messages_sent_before_main_runs_are_kept_for_its_listeners() -> None:
    node = Node(
        {
            "main": """
                local child = process.spawn("app:child", "app:processes", process.pid())
                for i = 1, 3 do process.send(child, "work", i) process.send(child, "other", i) end
                return process.inbox():receive():payload():data()
            """,
            "child": """
                local parent = ...
                local work, got = process.listen("work"), {}
                for i = 1, 3 do got[i] = work:receive() end
                local inbox = process.inbox()
                for i = 1, 3 do got[3 + i] = inbox:receive():payload():data() end
                process.send(parent, "got", got)
            """,
        }
    )
    assert node.run("main") == [1, 2, 3, 1, 2, 3]


def test_one_sender_keeps_its_order_and_is_not_held_up() -> None:
    node = Node(
        {
            "main": """
                local child = process.spawn("app:child", "app:processes", process.pid())
                for i = 1, 1000 do assert(process.send(child, "n", i)) end
                return process.inbox():receive():payload():data()
            """,
            "child": """
                local parent, inbox = (...), process.inbox()
                for i = 1, 1000 do assert(inbox:receive():payload():data() == i) end
                process.send(parent, "done", "in order")
            """,
        }
    )
    assert node.run("main") == "in order"
    assert node.of(c.Send) == []


def test_a_send_elsewhere_is_a_command_whose_answer_it_returns() -> None:
    node = Node(
        {
            "main": """
                local ok, err = process.send("{far:host|0x1}", "topic", {a = 1}, "b")
                local other, e2 = process.send("a name", "topic")
                return {ok, other == nil, e2:kind(), e2:message()}
            """
        }
    )
    pid = node.start("main")
    node.step()
    first = node.last(c.Send)
    assert (first.pid, first.dest, first.topic) == (pid, "{far:host|0x1}", "topic")
    assert payload(first) == [{"a": 1}, "b"]
    node.answer(first, True)
    error = PerdureError(Kind.NOT_FOUND, "process not found")
    node.answer(node.last(c.Send), error, ok=False)
    assert node.result(pid) == [True, True, "NotFound", "process not found"]


SEND_MISTAKES = {
    "process.send('', 't')": 'process.send: destination must be a PID or a name, got ""',
    "process.send(nil, 't')": "process.send: destination must be a PID or a name, got nil",
    "process.send('x', '')": 'process.send: topic must be a text, got ""',
    "process.send('x', 5)": "process.send: topic must be a text, got 5",
    "process.send('x', '@t')": 'process.send: topic "@t" starts with @, which is reserved',
    "process.send(process.pid(), '@t')": 'process.send: topic "@t" starts with @, which is '
    "reserved",
    "process.send(process.pid(), 't', cyclic)": "cyclic table: $.self is $ again",
    "process.send('x', 't', cyclic)": "cyclic table: $.self is $ again",
    "process.send(process.pid(), 't', {[{}] = 1})": (
        "a table key must be a string, a number or a boolean: $ has a table as key"
    ),
}


@pytest.mark.parametrize("call", SEND_MISTAKES)
def test_what_cannot_be_sent_is_refused(call: str) -> None:
    source = f"""
        local cyclic = {{}} cyclic.self = cyclic
        local ok, err = {call}
        return {{ok == nil, err:kind(), err:message()}}
    """
    assert run(source) == [True, "Invalid", SEND_MISTAKES[call]]


def test_what_is_no_data_becomes_nil_inside_tables() -> None:
    source = """
        process.send(process.pid(), "t",
          {f = print, co = coroutine.create(print), ch = channel.new(), x = 1})
        local t = process.inbox():receive():payload():data()
        return {t.f == nil, t.co == nil, t.ch == nil, t.x}
    """
    assert run(source) == [True, True, True, 1]


# Spawning -----------------------------------------------------------------------------------------


def test_spawn_variants_put_links_and_monitors_in_place_before_the_first_step() -> None:
    node = Node(
        {
            "main": """
                local events, log = process.events(), {}
                process.set_options{trap_links = true}
                local function note(pid)
                  local e = events:receive()
                  log[#log + 1] = e.kind .. (e.from == pid and "" or " of a stranger") .. " "
                    .. tostring(e.result.value or e.result.error)
                end
                note(process.spawn_monitored("app:ends", "app:processes"))
                note(process.spawn_monitored("app:fails", "app:processes"))
                note(process.spawn_linked("app:fails", "app:processes"))
                local both = process.spawn_linked_monitored("app:fails", "app:processes")
                note(both) note(both)
                return log
            """,
            "ends": "return 5",
            "fails": "return nil, require('errors').new('broken')",
        }
    )
    assert node.run("main") == [
        "pid.exit 5",
        "pid.exit broken",
        "pid.link.down broken",
        "pid.exit broken",
        "pid.link.down broken",
    ]


def test_a_spawn_elsewhere_is_a_command() -> None:
    node = Node(
        {
            "main": """
                local a = process.spawn_linked_monitored("other:entry", "other:host", 1, "x")
                local b, err = process.spawn("app:idle", "app:elsewhere")
                local c = process.exec("app:idle", "app:processes", 2)
                return {a, b == nil, err:kind(), c}
            """,
            "idle": IDLE,
        }
    )
    pid = node.start("main")
    node.step()
    spawn = node.last(c.Spawn)
    assert (spawn.entry, spawn.host, payload(spawn)) == ("other:entry", "other:host", [1, "x"])
    assert spawn.flags == c.MONITORED | c.LINKED
    node.answer(spawn, "{other:host|0x9}")
    node.answer(node.last(c.Spawn), PerdureError(Kind.NOT_FOUND, "no host"), ok=False)
    assert node.last(c.Spawn).flags == c.EXEC
    node.answer(node.last(c.Spawn), {"result": 1})
    assert node.result(pid) == ["{other:host|0x9}", True, "NotFound", {"result": 1}]


def test_the_end_of_a_linked_child_may_come_with_the_answer_to_its_spawn() -> None:
    node = Node(
        {
            "main": """
                process.set_options({trap_links = true})
                local pid = process.spawn_linked("other:entry", "other:host")
                local event = process.events():receive()
                return {event.kind, event.from == pid}
            """
        }
    )
    pid = node.start("main")
    node.step()
    spawn, child = node.last(c.Spawn), "{other:host|0x9}"
    down = {"kind": "pid.link.down", "from": child, "at": 1, "result": {}}
    node.step(inputs.answer(pid, spawn.seq, True, encode(child)), inputs.signal(pid, encode(down)))
    assert node.result(pid) == ["pid.link.down", True]


def test_a_vm_that_has_no_room_asks_its_host() -> None:
    node = Node({"main": "return process.spawn('app:idle', 'app:processes')", "idle": IDLE})
    node.step(inputs.room(0))
    pid = node.start("main")
    node.step()
    assert node.last(c.Spawn).entry == "app:idle"
    assert node.alive(pid)


def test_what_does_not_exist_or_compile_cannot_be_spawned_here() -> None:
    node = Node(
        {
            "main": "local _, e = process.spawn('app:bad', 'app:processes') return tostring(e)",
            "bad": "x =",
        }
    )
    assert "app:bad does not compile: main.lua:1" in node.run("main")
    for source in ("process.spawn('noname', 'app:processes')", "process.spawn('a:b', '')"):
        assert run(f"local pid, err = {source} return {{pid == nil, err:kind()}}") == [
            True,
            "Invalid",
        ]


def test_builders_are_immutable_and_carry_context_name_and_messages() -> None:
    node = Node(
        {
            "main": """
                local plain = process.with_context{tenant = "a", level = 1}
                local more = plain:with_context{level = 2}:with_message("hello", "x",
                  1):with_message("second")
                local one = plain:spawn_monitored("app:child", "app:processes", "one")
                local two = more:spawn_monitored("app:child", "app:processes", "two")
                local got = {}
                for i = 1, 2 do
                  local e = process.events():receive()
                  got[i] = e.result.value
                end
                return got
            """,
            "child": """
                local ctx = require("ctx")
                local name, messages = ..., {}
                if name == "two" then
                  local inbox = process.inbox()
                  local first, second = inbox:receive(), inbox:receive()
                  messages = {first:topic(), first:payload()[2]:data(), second:topic(),
                    first:from() ~= ""}
                end
                return {name, ctx.get("tenant"), ctx.get("level"), messages}
            """,
        }
    )
    one, two = node.run("main")
    assert one == ["one", "a", 1, []]
    assert two == ["two", "a", 2, ["hello", 1, "second", True]]


def test_a_named_or_optioned_spawn_goes_to_the_host() -> None:
    node = Node(
        {
            "main": """
                return process.with_options{["workflow.id"] = "w"}:with_name("bob")
                  :with_message("hi", 1):with_context{a = 1}:spawn("app:idle", "app:processes")
            """,
            "idle": IDLE,
        }
    )
    node.start("main")
    node.step()
    spawn = node.last(c.Spawn)
    assert spawn.name == "bob"
    assert spawn.options is not None
    assert decode(spawn.options) == {"workflow.id": "w"}
    assert spawn.context is not None
    assert decode(spawn.context) == {"a": 1}
    assert [(topic, decode(args)) for topic, args in spawn.messages] == [("hi", [1])]


# Ends, links, control -----------------------------------------------------------------------------


def test_when_an_exit_is_seen_the_pid_no_longer_routes() -> None:
    node = Node(
        {
            "main": """
                local pid = process.spawn_monitored("app:quick", "app:processes")
                local e = process.events():receive()
                local ok, err = process.send(e.from, "t")
                return {ok == nil, err:kind()}
            """,
            "quick": "return 1",
        }
    )
    pid = node.start("main")
    node.step()
    # The machine no longer knows it; only a host could.
    node.answer(node.last(c.Send), PerdureError(Kind.NOT_FOUND, "process not found"), ok=False)
    assert node.result(pid) == [True, "NotFound"]


def test_a_link_takes_its_peer_along_and_a_normal_end_does_not() -> None:
    node = Node(
        {
            "main": """
                process.spawn_linked("app:quick", "app:processes")
                process.spawn_linked("app:fails", "app:processes")
                process.inbox():receive()
            """,
            "quick": "return 1",
            "fails": "process.inbox():receive() error('boom')",
        }
    )
    pid = node.start("main")
    node.step()
    assert node.alive(pid)
    child = pid.replace("0001}", "0003}")
    node.send(child, "go")
    error = error_of(lambda: node.result(pid))
    assert error.message == "linked process failed"
    assert error.details["pid"] == child
    assert "boom" in error.details["error"]


def test_long_chains_of_links_end_one_after_the_other() -> None:
    node = Node(
        {
            "main": """
                local last = process.pid()
                for i = 1, 5000 do last = process.with_context{}:spawn("app:link",
                  "app:processes", last) end
                process.inbox():receive()
                error("first")
            """,
            "link": "process.link((...)) process.inbox():receive()",
        }
    )
    pid = node.start("main")
    node.step()
    node.send(pid, "go")
    assert len(node.of(c.Ended)) == 5001


CONTROL = {
    "monitor": (
        "process.monitor(child) process.send(child, 'end') return events:receive().kind",
        "pid.exit",
    ),
    "unmonitor": (
        """
        process.monitor(child) process.unmonitor(child) process.send(child, "end")
        local r = channel.select{events:case_receive(), require("time").after("1s"):case_receive()}
        return r.channel ~= events
        """,
        True,
    ),
    "link": (
        """
        process.set_options{trap_links = true}
        process.link(child) process.send(child, "fail")
        local e = events:receive()
        return {e.kind, tostring(e.result.error), type(e.at)}
        """,
        ["pid.link.down", "child.lua:3: failed", "userdata"],
    ),
    "a trapped link is over after it": (
        """
        process.set_options{trap_links = true}
        process.link(child) process.unlink(child) process.send(child, "fail")
        process.monitor(child)
        return events:receive().kind
        """,
        "pid.exit",
    ),
    "terminate": (
        "process.monitor(child) process.terminate(child) return "
        "tostring(events:receive().result.error)",
        "process terminated",
    ),
    "cancel": (
        """
        process.monitor(child)
        process.cancel(child, "enough")
        return events:receive().result.value
        """,
        ["pid.cancel", "enough", True],
    ),
}  # fmt: skip


@pytest.mark.parametrize("verb", CONTROL)
def test_control(verb: str) -> None:
    source, expected = CONTROL[verb]
    child = """local inbox, events, parent = process.inbox(), process.events(), (...)
local r = channel.select{inbox:case_receive(), events:case_receive()}
if r.channel == inbox and r.value:topic() == "fail" then error("failed") end
if r.channel == events then return {r.value.kind, r.value.reason, r.value.from == parent} end"""
    node = Node(
        {
            "main": f"""
                local events = process.events()
                local child = process.spawn("app:child", "app:processes", process.pid())
                {source}
            """,
            "child": entry(child, chunk="child.lua"),
        }
    )
    pid = node.start("main")
    node.step()
    for timer in node.of(c.StartTimer):
        node.answer(timer)
    assert node.result(pid) == expected


def test_a_cancel_waits_for_who_listens_late() -> None:
    node = Node(
        {
            "main": """
                local child = process.spawn_monitored("app:child", "app:processes")
                process.cancel(child, "early")
                return process.events():receive().result.value
            """,
            "child": "local e = process.events():receive() return e.kind .. ' ' .. e.reason",
        }
    )
    assert node.run("main") == "pid.cancel early"


@pytest.mark.parametrize(
    "call",
    [
        "process.terminate(process.pid())",
        "pcall(process.terminate, process.pid())",
        "coroutine.wrap(function() process.terminate(process.pid()) end)()",
        "pcall(tostring, setmetatable({}, {__tostring = function() "
        "process.terminate(process.pid()) end}))",
        "local x <close> = setmetatable({}, {__close = function() print('closed') end}) "
        "process.terminate(process.pid())",
    ],
)
def test_nothing_runs_in_a_process_that_terminated_itself(call: str) -> None:
    node = Node({"main": f"print('before') {call} print('after')"})
    error = error_of(lambda: node.run("main"))
    assert (error.kind, error.message) == ("Canceled", "process terminated")
    assert node.logged() == ["before"]


def test_a_process_that_ends_its_linked_peer_ends_at_once() -> None:
    node = Node(
        {
            "main": """
                local child = process.spawn_linked("app:idle", "app:processes")
                process.terminate(child)
                print("still here")
            """,
            "idle": IDLE,
        }
    )
    assert error_of(lambda: node.run("main")).message == "linked process failed"
    assert node.logged() == []


def test_control_of_others_is_a_command() -> None:
    node = Node(
        {"main": "local ok, err = process.monitor('{far:host|0x1}') return {ok == nil, err:kind()}"}
    )
    pid = node.start("main")
    node.step()
    control = node.last(c.Control)
    assert (control.verb, control.dest) == ("monitor", "{far:host|0x1}")
    node.answer(control, PerdureError(Kind.NOT_FOUND, "process not found"), ok=False)
    assert node.result(pid) == [True, "NotFound"]


def test_watchers_elsewhere_hear_through_the_host() -> None:
    node = Node({"main": "return {1}"})
    pid = node.start("main", watchers=["{far:host|0x1}"], links=["{far:host|0x2}"])
    node.step()
    # The link is checked where its peer lives, since that may have ended meanwhile.
    exit_, unlink = node.of(c.Signal)
    assert exit_.pid == "{far:host|0x1}"
    event = decode(exit_.event)
    assert (event["kind"], event["from"], event["result"]) == ("pid.exit", pid, {"value": [1]})
    assert (unlink.pid, decode(unlink.event)["kind"]) == ("{far:host|0x2}", "unlink")


def test_options() -> None:
    source = """
        local before = process.get_options().trap_links
        local ok = process.set_options{trap_links = true, upgradable = true}
        local bad, err = process.set_options{unknown = true}
        local worse, err2 = process.set_options{trap_links = 1}
        return {before, ok, process.get_options(), bad, err:kind(), worse, err2:kind()}
    """
    assert run(source) == [
        False, True, {"trap_links": True, "upgradable": True}, False, "Invalid", False, "Invalid",
    ]  # fmt: skip


def test_names_are_commands() -> None:
    node = Node(
        {
            "main": """
                local names = process.registry
                local a = names.register("bob")
                local b, err = names.register("bob", "{x:y|0x1}")
                local c = names.lookup("bob")
                local d = names.unregister("bob")
                local e, e2 = names.register("with|bar")
                return {a, b == nil, err:kind(), c, d, e == nil, e2:kind()}
            """
        }
    )
    pid = node.start("main")
    node.step()
    for verb, value, ok in (
        ("register", True, True),
        ("register", PerdureError(Kind.ALREADY_EXISTS, "held"), False),
        ("lookup", pid, True),
        ("unregister", True, True),
    ):
        assert node.last(c.Name).verb == verb
        node.answer(node.last(c.Name), value, ok=ok)
    assert node.result(pid) == [True, True, "AlreadyExists", pid, True, True, "Invalid"]


def test_the_end_of_a_named_process_is_announced_through_the_host() -> None:
    node = Node(
        {
            "main": """
                local child = process.spawn_monitored("app:named", "app:processes")
                return process.events():receive().kind
            """,
            "named": "process.registry.register('n')",
        }
    )
    pid = node.start("main")
    node.step()
    node.answer(node.last(c.Name))
    signal = node.last(c.Signal)
    assert signal.pid == pid
    assert node.alive(pid)
    node.step(inputs.signal(pid, signal.event))
    assert node.result(pid) == "pid.exit"


def test_identity() -> None:
    node = Node(
        {"main": "return {process.pid(), process.id(), process.event.EXIT, process.event.CANCEL}"}
    )
    pid = node.start("main")
    node.step()
    assert node.result(pid) == [pid, "app:main", "pid.exit", "pid.cancel"]
    assert pid.startswith(f"{{{HOST}|0x")


def test_requests_from_outside_are_answered() -> None:
    node = Node({"main": IDLE})
    pid = node.start("main")
    reply = ("{test|1}", 7)
    found = node.step(inputs.message(pid, "t", "", encode_args([]), reply))
    assert c.Answer("{test|1}", 7, True, encode(True)) in found
    lost = node.step(inputs.message(pid, "t", "", encode_args([]), reply))
    answer = next(command for command in lost if isinstance(command, c.Answer))
    assert not answer.ok
    assert decode(answer.value).kind == "NotFound"


def test_the_outcome_goes_to_who_asked_for_it() -> None:
    node = Node({"good": "return 1", "bad": "error('x', 0)"})
    node.start("good", outcome=("{test|2}", 5))
    node.start("bad", outcome=("{test|2}", 6))
    node.step()
    good, bad = [answer for answer in node.of(c.Answer) if answer.pid == "{test|2}"]
    assert (good.seq, good.ok, decode(good.value)) == (5, True, 1)
    assert (bad.seq, bad.ok, decode(bad.value).message) == (6, False, "x")


def test_listing() -> None:
    node = Node({"main": IDLE + " process.inbox():receive()"})
    pid = node.start("main", parent="{a:b|0x1}")
    node.step()
    (answer,) = node.step(inputs.listing(("{test|1}", 3)))
    assert isinstance(answer, c.Answer)
    assert decode(answer.value) == [[pid, "app:main", 0, "{a:b|0x1}"]]
