"""The almanac: an actor that collects what sensors measure."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from hosts.api import Process
from runtime.api import PerdureError


class Almanac(Process):
    """Collects for as long as it lives.

    Messages:
        measured {sensor, celsius}    a value
        watch PID                     that of a sensor, whose end is to be counted
        tell me N                     answered with "done" when N sensors have ended
        summary?                      answered with a list of {sensor, values, mean, highest}
    """

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[str, list[float]] = {}
        self._ended = 0
        self._waiting: list[tuple[int, str]] = []

    def on_message(self, topic: str, payload: Any, sender: str) -> None:
        if topic == "measured":
            self._values.setdefault(payload["sensor"], []).append(payload["celsius"])
        elif topic == "watch":
            self._watch(payload)
        elif topic == "tell me":
            self._waiting.append((payload, sender))
            self._tell()
        elif topic == "summary?":
            self.send(sender, "summary", self._summary())

    def on_event(self, event: dict[str, Any]) -> None:
        self._ended += 1
        self._tell()

    def _watch(self, pid: str) -> None:
        try:
            self.monitor(pid)
        except PerdureError:  # it has ended already
            self._ended += 1
            self._tell()

    def _tell(self) -> None:
        done = [each for each in self._waiting if each[0] <= self._ended]
        self._waiting = [each for each in self._waiting if each not in done]
        for _, sender in done:
            self.send(sender, "done")

    def _summary(self) -> list[dict[str, Any]]:
        return [
            {"sensor": name, "values": len(each), "mean": fmean(each), "highest": max(each)}
            for name, each in sorted(self._values.items())
        ]
