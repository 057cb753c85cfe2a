"""Deadlines: a heap of them, and the thread that waits for the nearest.

Everything that waits for a time does it here, so that a test that owns the clock owns the
waiting: it moves its clock and calls `Timers.run_due` itself, with no thread about.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable

from runtime.clock import Clock

logger = logging.getLogger(__name__)

#: A heap with fewer cancelled timers than this is not worth rebuilding (as in asyncio's loop).
_MIN_CANCELLED = 100


class Timer:
    """Handle of one deadline; `Timers.cancel` takes it."""

    __slots__ = ("background", "callback", "due")

    def __init__(self, due: int, callback: Callable[[], None], background: bool) -> None:
        self.due = due
        self.callback: Callable[[], None] | None = callback
        self.background = background


class Timers:
    """Deadlines on the monotonic clock; safe to call from any thread.

    Most timers are time-outs that never come due. A cancelled one is left in the heap, and the
    heap is rebuilt when half of it is cancelled: add and cancel cost O(log n) each, amortised.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._heap: list[tuple[int, int, Timer]] = []
        self._cancelled = 0
        self._sequence = itertools.count()
        self._changed = threading.Condition()

    def add(self, due: int, callback: Callable[[], None], *, background: bool = False) -> Timer:
        """Call `callback` once the monotonic clock shows `due` nanoseconds.

        `background` says that it is upkeep, which comes again and again, and that nobody waits
        for: who skips time does not stop for it.

        Callbacks run on the thread that runs `run_due`, those of one instant in the order they
        were added. They must be quick: they put a message somewhere.
        """
        timer = Timer(due, callback, background)
        with self._changed:
            heapq.heappush(self._heap, (due, next(self._sequence), timer))
            if self._heap[0][2] is timer:
                self._changed.notify()
        return timer

    def cancel(self, timer: Timer) -> None:
        """Forget a deadline; nothing happens when it was run or cancelled before."""
        with self._changed:
            if timer.callback is None:
                return
            timer.callback = None
            self._cancelled += 1
            if self._cancelled > max(_MIN_CANCELLED, len(self._heap) // 2):
                self._heap = [item for item in self._heap if item[2].callback is not None]
                heapq.heapify(self._heap)
                self._cancelled = 0

    def next_due(self) -> int | None:
        """Monotonic nanoseconds of the nearest deadline, or None when there is none."""
        with self._changed:
            return self._next_due()

    def next_awaited(self) -> int | None:
        """The same without those in the background. Looks at every deadline there is."""
        with self._changed:
            awaited = (timer for _, _, timer in self._heap if not timer.background)
            return min((timer.due for timer in awaited if timer.callback is not None), default=None)

    def run_due(self) -> int:
        """Run what is due and say how much that was; what callbacks add waits for the next call.

        A callback that raises is logged and keeps nothing from the others.
        """
        now = self.clock.monotonic()
        due: list[Callable[[], None]] = []
        with self._changed:
            while (nearest := self._next_due()) is not None and nearest <= now:
                timer = heapq.heappop(self._heap)[2]
                if timer.callback is not None:
                    due.append(timer.callback)
                    timer.callback = None
        for callback in due:
            try:
                callback()
            except Exception:
                logger.exception("the timer callback %r raised", callback)
        return len(due)

    def wait(self) -> None:
        """Block until a deadline is due; comes back early when a nearer one is added."""
        with self._changed:
            nearest = self._next_due()
            if nearest is None:
                self._changed.wait()
            elif (left := nearest - self.clock.monotonic()) > 0:
                self._changed.wait(min(left / 1e9, threading.TIMEOUT_MAX))

    def _next_due(self) -> int | None:
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0][0] if self._heap else None


class TimerThread:
    """A daemon thread that runs timers when they are due."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="perdure-timers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; deadlines that are still to come stay in the heap."""
        self._timers.add(self._timers.clock.monotonic(), self._end)
        self._thread.join()

    def _end(self) -> None:
        self._stopping = True

    def _run(self) -> None:
        while not self._stopping:
            self._timers.wait()
            self._timers.run_due()
