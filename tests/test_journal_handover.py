"""The queue before the writer: nothing is lost, all is in order, and nobody sleeps beside it."""

from __future__ import annotations

import os
import threading

from journal.handover import Handover

FAR = 30.0  # seconds that nothing here takes


def test_items_come_in_order() -> None:
    queue: Handover[int] = Handover()
    for item in range(3):
        queue.put(item)
    assert queue.wait()
    assert len(queue) == 3
    assert [queue.take() for _ in range(3)] == [0, 1, 2]
    assert not queue
    queue.close()


def test_a_wait_ends_with_its_time_or_with_an_item() -> None:
    queue: Handover[int] = Handover()
    assert not queue.wait(0.001)
    queue.put(1)
    assert queue.wait(FAR)
    assert queue.take() == 1
    assert not queue.wait(0.001), "what was taken is not waited for again"
    queue.close()


def test_nothing_put_from_many_threads_is_slept_through() -> None:
    """Each thread puts its next item only when its last one was taken: one missed wake-up hangs."""
    queue: Handover[tuple[int, int, threading.Event]] = Handover()
    lock, threads, rounds = threading.Lock(), 4, 500

    def put(thread: int) -> None:
        for number in range(rounds):
            taken = threading.Event()
            with lock:
                queue.put((thread, number, taken))
            assert taken.wait(FAR)

    putters = [threading.Thread(target=put, args=(number,)) for number in range(threads)]
    for putter in putters:
        putter.start()
    last = [-1] * threads
    for _ in range(threads * rounds):
        assert queue.wait(FAR)
        thread, number, taken = queue.take()
        assert number == last[thread] + 1
        last[thread] = number
        taken.set()
    for putter in putters:
        putter.join()
    queue.close()


def test_closing_gives_back_what_it_took_of_the_system() -> None:
    before = len(os.listdir("/proc/self/fd"))
    queue: Handover[int] = Handover()
    assert len(os.listdir("/proc/self/fd")) > before
    queue.close()
    assert len(os.listdir("/proc/self/fd")) == before
