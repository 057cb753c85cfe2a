"""Results as a table for people, and as JSON for programs."""

from __future__ import annotations

import json
from typing import Any

from rich.table import Table

from benchmarks.figures import Goal, Peer, Result, Spread


def table(results: list[Result], *, quick: bool) -> Table:
    """All results, a line each; medians, with lowest and highest round."""
    title = "Too small to mean anything (--quick)" if quick else "Medians (lowest to highest round)"
    shown = Table(title=title, title_justify="left")
    for column in ("Benchmark", "Figure"):
        shown.add_column(column, min_width=20)
    for column in ("Perdure", "", "Peer", "Ratio", "Goal"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("", no_wrap=True)
    last = ("", "")
    for each in results:
        figure = each.figure
        if last[0] and each.benchmark != last[0]:
            shown.add_section()
        shown.add_row(
            each.benchmark if each.benchmark != last[0] else "",
            *_own(each, repeated=last == (each.benchmark, figure.series)),
            _peer(each),
            f"{number(each.ratio.median)}x ({_range(each.ratio)})" if each.ratio else "",
            _goal(figure.goal, ratio=bool(figure.peer)),
            {True: "[green]met", False: "[red]missed", None: ""}[each.met],
        )
        last = (each.benchmark, figure.series)
    return shown


def document(results: list[Result], facts: dict[str, Any], *, quick: bool) -> str:
    """The same as JSON, with `facts` of the machine."""
    figures = [
        {
            "benchmark": each.benchmark,
            "figure": each.figure.series,
            "unit": each.figure.unit,
            "perdure": each.own._asdict(),
            "peer": each.figure.beside or None,
            "of the peer": each.peer._asdict() if each.peer else None,
            "ratio": each.ratio._asdict() if each.ratio else None,
            "goal": _goal(each.figure.goal, ratio=bool(each.figure.peer)) or None,
            "met": each.met,
        }
        for each in results
    ]
    found = {"quick": quick, "surroundings": facts, "notes": notes(results), "figures": figures}
    return json.dumps(found, indent=2)


def notes(results: list[Result]) -> list[str]:
    """What a reader must know of the programs that stand beside ours."""
    peers = {each.figure.peer for each in results if isinstance(each.figure.peer, Peer)}
    return [
        f"{each.name}: {each.note}"
        if each.present()
        else f"{each.name} was left out, for it is not installed: {each.needs}"
        for each in sorted(peers, key=lambda peer: peer.name)
    ]


def _peer(result: Result) -> str:
    if result.peer is None:
        return f"no {result.figure.beside} here" if result.figure.peer else ""
    return f"{number(result.peer.median)} {result.figure.beside}"


def _own(result: Result, *, repeated: bool) -> tuple[str, str, str]:
    """Series, median and range; empty under the same series beside another peer."""
    if repeated:
        return "", "", ""
    median = f"{number(result.own.median)} {result.figure.unit}"
    return result.figure.series, median, _range(result.own)


def number(value: float) -> str:
    """Three digits that matter, and thousands in groups."""
    if value >= 1000:
        return f"{round(value, 2 - len(str(int(value))) + 1):,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _range(spread: Spread) -> str:
    return f"{number(spread.low)} - {number(spread.high)}"


def _goal(goal: Goal | None, *, ratio: bool) -> str:
    if goal is None:
        return ""
    return f"{'>=' if goal.at_least else '<='} {number(goal.limit)}{'x' if ratio else ''}"
