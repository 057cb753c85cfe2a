"""Types are erased and nothing else: a table of them, and of plain Lua that looks like them."""

from __future__ import annotations

import contextlib
import time

import pytest

from runtime.lua.types.erase import erase
from runtime.lua.types.grammar import TypeSyntaxError

#: Typed source with what is erased in « », so that each row shows both texts.
TYPED = [
    # annotations
    "local x«: number» = 1",
    "local x«: number», y«: {string}?» = 1, nil",
    "local x«: a.b.C»",
    "local x <const>«: number» = 1",
    "local x«: number» <const> = 1",
    "local x«: Box<T>» <close> = y",
    "local x«: Box<T>»= 1",
    "local x«: Box<Box<Box<T>>>»= 1",
    "local x«:Box<Box<T>>»=1",
    "local x«: Map<string, {T}>» = {}",
    "function f(a«: number», b«: string») end",
    "function f(a«?: number», b) return a end",
    "function f(...«: any») end",
    "function f()«: number» end",
    "function f()«: (string?, error?)» end",
    "function f()«: ()» end",
    "function f()«: ...any» end",
    "function f()«: (string, ...any)» return g(1) end",
    "function M.a.b:c(x«: T»)«: T» return x end",
    "local function f«<T>»(x«: T»)«: T» return x end",
    "local function f«<K, V: Base, W = number, P...>»(x«: K») end",
    "local f = function«<T>»(x«: T»)«: T?» return x end",
    "f(function(a«: number»)«: number» return a end)",
    "for i«: integer» = 1, 2 do end",
    "for k«: string», v«: {number}» in pairs(t) do end",
    "function f()«: number» (g or h)() end",
    "local function f(\n  a«: number»,\n  b«: {\n    x: number,\n  }»\n)«:\n  number»\nend",
    # aliases
    "«type X = number»",
    "«type X = number»; local y«: X» = 1",
    "«type Box<T> = {value: T}»",
    "«type Pair<A, B = A> = {A} | {B}»",
    "«type X =\n  | {kind: \"a\"} -- one\n  | {kind: \"b\"}» -- two\nreturn 1",
    "«type X = A\n  & B»\nlocal y = 1",
    "do «type X = number» end",
    "if a then «type X = number» else «type X = string» end",
    "f() «type X = number» g()",
    "x = 1 «type type = type» y = 2",
    "«type X = typeof(f(1, {2})[3])» local y = 1",
    # kinds of types
    "local x«: string?»",
    "local x«: nil | true | false | 1 | -2.5 | 0x1F | 'a' | [=[b]=] | \"c\\\"\"»",
    "local x«: number[]» =1",
    "local x«: string[][]?» = 1",
    "local x«: {}» = {}",
    "local x«: {string}»",
    "local x«: {string, number}»",
    "local x«: {[string]: number}»",
    "local x«: {[\"a key\"]: number; end: string, type?: number,}»",
    "local x«: {a: number, [K]: V, ...}»",
    "local x«: {readonly a: number, readonly [string]: T, readonly: boolean}»",
    "local x«: readonly {string}» = {}",
    "local x«: readonly string[]» = {}",
    "local x«: A & B & {c: number}»",
    "local x«: (A | B)[]» ",
    "local x«: () -> ()»",
    "local x«: (number, string) -> (boolean, string?)»",
    "local x«: (a: number, b?: string, ...: any) -> ...any»",
    "local x«: (A) -> (B) -> C | nil»",
    "local x«: ((A) -> B)?»",
    "local x«: <T>(x: T) -> T» = id",
    "local x«: Box<<T: Box<U>=V>(x: T) -> Box<T>>»= id",
    "local x«: fun(a: number, b?: string): (boolean, error?)»",
    "local x«: function» = f",
    "local x«: typeof(y)» = y",
    "local x«: string @min_len(1) @email» = ''",
    "local x«: {name: string @pattern(\"^(a|b)$\"), age: number @min(0) @max(10 + (5))}»",
    # casts
    "local x = y «as number»",
    "local x = y «as {string}»",
    "local x = y «as \"a\" | \"b\"»",
    "local x = y «as Map<K, V>»",
    "local x = y as = 3",
    "local x = (y «as T»):f()",
    "return f(x «as T», y «:: T»)",
    "local x = y «:: number»",
    "local x = f() «:: {a: number}»",
    "local x = y «as any» «as T» «:: U»",
    "local x = 'a' «as T» .. 'b' «as T»",
    "local x = 1 «as T» == 2 «:: T» and nil «as T» or ... «as U»",
    "local x = t[1] «as T», {} «as T», g{1} «as T», true «as T»",
    "local x = function() end «as fun()»",
    "local x = function() if a then b() end end «as fun()»",
    "local x = a «as A» < b",
    "local x = f(a «as A» < b, c > (d))",
    "local x = f(a «as A<b>»)",
    "local x = a «as A» << 2",
    "local x = a «as A<<T>(x: T) -> T>»",
    "local x = {a «as A»; b «as B», c = d «as D»}",
    "return x «as T»",
    "if x «as boolean» then end",
    # non-nil
    "local x = y«!»",
    "local x = y«!».z«!»:f()«!» + t[1]«!»",
    "local x = y«!» == z«!»",
    "local x = y«!» «as T»",
    "f(y«!», 'a'«!»)",
    # plain Lua that looks like types
    "type(x)",
    "local type = type",
    "local type = type\nX = 5",
    "local a = b, type X = 5",
    "x = type X = 5",
    "type = 5",
    "type.x = 5",
    "type 'x'",
    "t = {type = 'x', as = 1, type(x), as(x)}",
    "x.type = y.as",
    "x:type() x:as()",
    "x.as {1}",
    "x:as {1}",
    "x:as 'a'",
    "goto type X = 5 ::type::",
    "local type X = 5",
    "function type(as) return as end",
    "for type, as in pairs(as) do end",
    "as = 5",
    "as(5)",
    "as {5}",
    "as 'x'",
    "local x = y\nas {5}",
    "local x = y --[==[\n]==] as {5}",
    "if x then f() end as {5}",
    "do end as {5}",
    "local x as {5}",
    "x = y as, z = 1, 2",
    "x = y as.z = 1",
    "x = y as[1] = 2",
    "x = y as:z()",
    "local as = as as = as",
    "::a:: goto a",
    ":: a ::",
    "x = y :: a :: z = 1",
    "x = y ::number:: z = 1",
    "x = a:b() c:d 'x'",
    "x = a < b, c > (d)",
    "x = a >> b << c >= d <= e",
    "local x <const>, y <close> = 1, nil",
    "x = 'local y: number' .. \"y as T\" .. [==[z! type X = Y]==] -- :: a: b",
    "--[==[ local x: number ]==] x = 1",
    "x = 'a\\z   \n  b: c' .. 'd\\\n: e' .. '\\''",
    "x = 1//2 ~= 3 .. 4 & 0x1p-3 | .5e+7 ~ ~9",
    "#t = 5",
    "x = a --as T",
    "readonly = typeof(fun(keyof))",
    "return type, as",
    "return function() return as end, type",
]  # fmt: skip


def both(row: str) -> tuple[str, str]:
    """Typed and plain source of a row."""
    typed, plain, rest = "", "", row
    while "«" in rest:
        before, _, rest = rest.partition("«")
        erased, _, rest = rest.partition("»")
        typed += before + erased
        plain += before + "".join(c if c in "\r\n\t" else " " for c in erased)
    return typed + rest, plain + rest


@pytest.mark.parametrize("row", TYPED)
def test_what_is_erased(row: str) -> None:
    typed, plain = both(row)
    assert erase(typed) == plain
    assert erase(plain) == plain


def test_an_alias_keeps_the_statements_around_it_apart() -> None:
    assert erase("x = f\ntype X = number\n(g or h)()") == "x = f\n;              \n(g or h)()"
    assert erase("do\ntype X = number\n(g or h)() end") == "do\n               \n(g or h)() end"


@pytest.mark.parametrize(
    "source",
    ["x: number", "local x: number = 'abc", "x = [[ y", "local y = 1 $ local x: T", "x != y",
     "if x!= y then end", "x = y as", "local x = y as = z", "type X", "f(", "end end end until",
     "local function", "x =", "function f(a", "--[[ x", "local x = }"],
)  # fmt: skip
def test_other_faults_are_left_to_the_compiler(source: str) -> None:
    assert erase(source) in (source, "local x         = 'abc")


@pytest.mark.parametrize(
    ("source", "line", "text"),
    [
        ("local x: = 1", 1, "type expected near '='"),
        ("local x:", 1, "type expected near <eof>"),
        ("\n\nlocal x: {a: number = 1", 3, "'}' expected near '='"),
        ("function f(a:) end", 1, "type expected near ')'"),
        ("function f():\n end", 2, "type expected near 'end'"),
        ("function f<T(x) end", 1, "'>' expected near '('"),
        ("local x: Box<T = 1", 1, "'>' expected near '='"),
        ("local x: Box<<T>> = 1", 1, "'(' expected near '>'"),
        ("local x: Box<T>> = 1", 1, "unexpected '>' near '>'"),
        ("type X =\n", 2, "type expected near <eof>"),
        ("type X = {a: number | }", 1, "type expected near '}'"),
        ("local x = y :: = 1", 1, "type expected near '='"),
        ("local x: string @ = 1", 1, "name of a validator expected near '='"),
        ("local x: string @min(1", 1, "')' expected near '('"),
        ("local x\r\n\r\nlocal y: ? = 1", 3, "type expected near '?'"),
        ("local x: " + "{" * 60, 1, "a type nests more than 50 deep"),
        ("local x = y as " + "(" * 10_000, 1, "a type nests more than 50 deep"),
        ("local x: " + "A<" * 10_000, 1, "a type nests more than 50 deep"),
        ("type X = " + "typeof(" * 10_000, 1, "')' expected near '('"),
    ],
)
def test_faults_of_types_have_a_line(source: str, line: int, text: str) -> None:
    with pytest.raises(TypeSyntaxError) as error:
        erase(source)
    assert (error.value.line, error.value.text) == (line, text)


LONG = {
    "casts": "x = y as T ",
    "casts that compare": "x = y as A < b ",
    "casts without an end": "x as A<{ ",
    "generics without an end": "x as A<B<C<",
    "typeof without an end": "x as typeof( ",
    "typeof in typeof": "x as A<typeof(x ",
    "validators without an end": "x as {a: b @c( ",
    "records without an end": "x as {a: {b: ",
    "functions without an end": "x as {f: fun(a: ",
    "anonymous functions": "x as function(a: b ",
    "unions": "x as A | B | C ",
    "readonly": "x as readonly as ",
    "names": "as as as ",
    "non-nil": "x!!!! ",
    "labels": ":: a :: ",
    "colons": "x :: T ",
    "types": "type X = type X = ",
    "quotes": "'a\\' ",
    "long brackets": "[==[ ]=] ",
    "comments": "--[==[ ]=]\n",
    "short comments": "-- a\n",
    "minus": "- ",
    "equals": "[====",
    "blanks": "  \n\t  ",
    "blocks": "function() if do repeat ",
    "ends": "end ",
    "numbers": "1e5.5.",
    "brackets": "([{",
    "dots": "... .. . ",
    "what is no Lua": "$ ",
    "not ASCII": "é ",
    "packs": "x as (...a ",
    "arrows": "x as A -> B ",
}


@pytest.mark.parametrize("name", LONG)
def test_time_is_in_proportion_to_length(name: str) -> None:
    def cost(size: int) -> float:
        source = LONG[name] * (size // len(LONG[name]))
        start = time.process_time()
        with contextlib.suppress(TypeSyntaxError):
            assert len(erase(source)) == len(source)
        return time.process_time() - start

    # Ten times the text: quadratic work would take a hundred times as long, and minutes.
    assert cost(200_000) < 30 * max(cost(20_000), 0.01)


def test_long_chains_do_not_nest() -> None:
    for chain in ("A | " * 50_000, "A -> " * 50_000, "readonly " * 50_000):
        source = f"local x: {chain}B = 1"
        assert erase(source) == "local x" + " " * (len(source) - 11) + " = 1"
