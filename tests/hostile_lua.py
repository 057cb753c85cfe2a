"""Generates Lua that means harm: each program from a number, the same for the same number.

A program keeps what it gets hold of in G, where later statements find it, and shows all of it to
`probe`, a function of the test's that tells what user code must never hold.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

EVENTS: Final = (
    "__index", "__newindex", "__call", "__len", "__eq", "__lt", "__le", "__concat", "__tostring",
    "__name", "__pairs", "__close", "__metatable", "__gc", "__mode", "__unm", "__add", "__idiv",
    "__bnot", "__perdure", "__data", "__ipairs",
)  # fmt: skip
METHODS: Final = (
    "receive", "send", "close", "case_send", "case_receive", "kind", "message", "details", "stack",
    "retryable", "topic", "from", "payload", "data", "add", "sub", "format", "unix", "date",
    "round", "truncate", "in_location", "stop", "reset", "channel", "response", "result", "cancel",
    "is_complete", "error", "with", "named", "info", "call", "async", "with_context", "spawn",
    "with_options", "with_message", "with_name", "seconds", "string", "get", "set", "transcode",
    "find", "gsub", "gmatch", "match", "rep", "upper", "byte", "reverse",
)  # fmt: skip
#: Numbers at the edges.
NUMBERS: Final = (
    "0", "1", "-1", "2", "255", "256", "65536", "1 << 20", "1 << 31", "1 << 40", "1 << 62", "1e15",
    "math.maxinteger", "math.mininteger", "math.huge", "-math.huge", "0/0", "0.5", "-0.0", "1e308",
    "3.0", "2^53", "2^63",
)  # fmt: skip
TEXTS: Final = (
    "''", "'x'", r"'\0'", r"'\xff\xfe'", "'%'", "'%s%d%q'", "'%99.99f'", "'.-.-.-b'", "'(((('",
    "'%f[%w]%b()'", "'[%a-z]*$'", "'^(.*)(.*)%1'", "'{app:processes|0x1001}'", "'app:fn'", "'@x'",
    "'app:none'", "'app:processes'", "'{|}'", "'2006-01-02T15:04:05Z07:00'", "'Europe/Berlin'",
    "'../../etc/passwd'", "'1h30m'", "'!c9999999'", "'<i16'", "'s4s4s4'", "'*t'", "'%Y%Ez'", "'k'",
    "'__gc'", "'utf-8'", "('a'):rep(30000)", "('('):rep(300)", "('[a'):rep(200)", "('x'):rep(1e6)",
    "('{'):rep(5000)", "('[['):rep(3000) .. 1", "'n: &a [*a, *a]'", "'a: &x [*x]'", "'aes'",
    "'!!python/object:os.system {}'", "'{\"type\": \"object\"}'", "'{\"pattern\": \"(a+)+$\"}'",
    "('\"\\\\u0041'):rep(99)", "'eyJhbGciOiJub25lIn0.e30.'", "'\\27Lua\\x54'",
)  # fmt: skip
#: Code for `load`.
CODES: Final = (
    "return _ENV", "return ...", "while true do end", "local x: {{{ = 1", "x = y as A<B<{",
    "return function() return load end", "goto a ::a:: return a", "local a <close> = setmetatable"
    "({}, {__close = function() while true do end end})", "return debug, io, os.exit, python",
    "error(nil)", "x!!!!y", "type X = typeof(", "return (...)",
    "for k in pairs(_G) do probe(k) end",
    "local function f() return f() end f()", "end end return function() return function(",
)  # fmt: skip


class Generator:
    """Makes programs.

    Args:
        seed: which program.
        names: functions that user code may name, such as "process.send".
    """

    def __init__(self, seed: int, names: Sequence[str]) -> None:
        self._random = random.Random(seed)
        self._names = names
        self._depth = 0
        self._loops = 0

    def program(self) -> str:
        body = "\n".join(self._statement() for _ in range(self._random.randint(4, 16)))
        return f"G = {{}}\n{body}\nfor _, v in pairs(G) do probe(v) end\nprobe(_G)"

    def _one(self, items: Sequence[str]) -> str:
        return self._random.choice(items)

    def _block(self) -> str:
        self._depth += 1
        body = "\n".join(self._statement() for _ in range(self._random.randint(1, 3)))
        self._depth -= 1
        return body

    # Statements -----------------------------------------------------------------------------------

    def _statement(self) -> str:
        if self._depth > 3:
            return f"keep({self._value()})" if self._random.random() < 0.5 else self._keep()
        make: Callable[[], str] = self._random.choices(
            (self._keep, self._caught, self._loop, self._closing, self._task, self._strange),
            (40, 20, 6, 4, 4, 6),
        )[0]
        return make()

    def _keep(self) -> str:
        slot = self._random.randint(1, 9)
        return f"pcall(function() G[{slot}] = {self._value()} probe(G[{slot}]) end)"

    def _caught(self) -> str:
        body = self._block()
        return self._one(
            (
                f"pcall(function()\n{body}\nend)",
                f"G[1], G[2] = pcall(function()\n{body}\nreturn G[3] end)",
                f"xpcall(function()\n{body}\nerror(G[4]) end, function(...)\nprobe(...)\n"
                f"{self._block()}\nreturn ... end)",
                f"G[1], G[2] = coroutine.resume(coroutine.create(function()\n{body}\nend), G[3])",
                f"pcall(coroutine.wrap(function()\n{body}\ncoroutine.yield(G[1])\nend))",
            )
        )

    def _loop(self) -> str:
        self._loops += 1
        label = f"l{self._loops}"
        body = self._block()
        return self._one(
            (
                f"for i = 1, {self._one(('3', '100', '1e9'))} do\n{body}\nend",
                f"while G[1] do\n{body}\nend",
                f"repeat\n{body}\nuntil G[2]",
                f"do local n = 0 ::{label}:: n = n + 1\n{body}\n"
                f"if n < 50 then goto {label} end end",
                f"pcall(function() for k in pairs({self._value()}) do probe(k)\n{body}\nend end)",
                f"pcall(function() for k in {self._value()}, {self._value()} do probe(k) end end)",
                "pcall(function() local t = {} while true do t[#t + 1] = {t} end end)",
                "pcall(function() local s = 'x' while true do s = s .. s end end)",
            )
        )

    def _closing(self) -> str:
        return (
            f"pcall(function() local c <close> = {self._table()}\n{self._block()}\n"
            f"error({self._value()}) end)"
        )

    def _task(self) -> str:
        return f"pcall(coroutine.spawn, function()\n{self._block()}\nend)"

    def _strange(self) -> str:
        return self._one(
            (
                f"pcall(function() _ENV[{self._value()}] = {self._value()} end)",
                f"pcall(function() {self._one(self._names)} = {self._value()} end)",
                f"pcall(rawset, {self._value()}, {self._value()}, {self._value()})",
                f"pcall(setmetatable, {self._value()}, {self._value()})",
                f"pcall(function() local f <const> = load({self._code()}) probe(f) f(G[1]) end)",
                "pcall(function() local function f(n) return 1 + f(n) end f(1) end)",
                "pcall(function() local f = error for i = 1, 200 do local g = f f = function(...) "
                "return pcall(g, ...) end end f(G[1]) end)",
                "pcall(function() local co co = coroutine.wrap(function() co() end) co() end)",
                "pcall(function() local function f() return coroutine.wrap(f)() end f() end)",
                "coroutine.yield(G[1])",
                "G[1] = coroutine.running() pcall(coroutine.resume, G[1])",
                "pcall(coroutine.close, G[1])",
                "pcall(string.gsub, ('x'):rep(1000), '.', function(c) coroutine.yield(c) end)",
                "pcall(table.sort, {3, 1, 2}, function(a, b) coroutine.yield() return true end)",
                "collectgarbage() collectgarbage('step') collectgarbage('generational')",
                f"error({self._value()})" if self._depth else "probe(1)",
            )
        )

    # Values ---------------------------------------------------------------------------------------

    def _value(self) -> str:
        self._depth += 1
        try:
            if self._depth > 5:
                return self._plain()
            make: Callable[[], str] = self._random.choices(
                (self._plain, self._call, self._method, self._table, self._function, self._other),
                (30, 40, 12, 12, 6, 12),
            )[0]
            return make()
        finally:
            self._depth -= 1

    def _plain(self) -> str:
        kind = self._random.random()
        if kind < 0.35:
            return f"G[{self._random.randint(1, 9)}]"
        if kind < 0.55:
            return f"({self._one(NUMBERS)})"
        if kind < 0.8:
            return f"({self._one(TEXTS)})"
        if kind < 0.9:
            return self._one(self._names)
        return self._one(("nil", "true", "false", "{}", "_G", "process", "string", "errors", "..."
                          if self._depth == 0 else "{G}"))  # fmt: skip

    def _arguments(self) -> str:
        count = self._random.choices((0, 1, 2, 3, 5), (10, 30, 30, 20, 10))[0]
        return ", ".join(self._value() for _ in range(count))

    def _call(self) -> str:
        return f"{self._one(self._names)}({self._arguments()})"

    def _method(self) -> str:
        return f"({self._value()}):{self._one(METHODS)}({self._arguments()})"

    def _function(self) -> str:
        return f"function(...) probe(...)\n{self._block()}\nreturn {self._plain()} end"

    def _code(self) -> str:
        code = self._one(CODES)
        if self._random.random() < 0.3:
            at = self._random.randrange(len(code))
            code = code[:at] + self._one(("\0", "as", ":", "{", "<", "end ", "'")) + code[at:]
        quoted = code.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0")
        return f"'{quoted}'"

    def _table(self) -> str:
        fields = ", ".join(
            f"{event} = {self._function() if self._random.random() < 0.7 else self._value()}"
            for event in self._random.sample(EVENTS, self._random.randint(1, 3))
        )
        inside = self._one(("", "G", "1, 2, 3", "a = 1", "[1.5] = {}", "[G] = G"))
        return f"setmetatable({{{inside}}}, {{{fields}}})"

    def _other(self) -> str:
        a, b = self._plain(), self._plain()
        operator = self._one(("+", "..", "==", "<", "//", "%", "~", "<<", "and", "or"))
        return self._one(
            (
                f"({a} {operator} {b})", f"#({a})", f"-({a})", f"({a})[{b}]", f"({a})({b})",
                f"load({self._code()})", f"require({a})", f"({{{a}, {b}}})",
                f"select(2, pcall({a}, {b}))",
                "coroutine.create(function(...) probe(...) coroutine.yield(...) end)",
                "errors.new{message = 'm', details = G}", "channel.new(3)", "time.now()",
                "process.inbox()", "process.events()", "funcs.async('app:fn', G[1])",
            )
        )  # fmt: skip
