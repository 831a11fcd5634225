"""The pool that does a phase's work: all items, the first failure, and an end that waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from topologies.processes.thread_pool import ThreadPool

_DEADLINE = 5.0  # seconds


@pytest.fixture
def workers() -> Iterator[ThreadPool]:
    made = ThreadPool()
    yield made
    made.stop()


def test_each_item_is_worked_on_once(workers: ThreadPool) -> None:
    done: list[int] = []
    workers.each(done.append, range(40))
    assert sorted(done) == list(range(40))
    workers.each(done.append, [])


def test_eight_items_are_worked_on_at_a_time(workers: ThreadPool) -> None:
    together = threading.Barrier(8)
    workers.each(lambda _: together.wait(_DEADLINE), range(8))
    under_way, most = threading.Semaphore(0), threading.Event()

    def work(_: int) -> None:
        under_way.release()
        most.wait(_DEADLINE)

    begun = [workers.submit(lambda: work(0)) for _ in range(9)]
    for _ in range(8):
        assert under_way.acquire(timeout=_DEADLINE)
    assert not begun[8].running()
    most.set()


def test_work_in_the_background_gives_its_result_and_has_a_thread_with_a_name(workers: ThreadPool) -> None:
    assert workers.submit(lambda: threading.current_thread().name).result(_DEADLINE).startswith("testbed")
    with pytest.raises(ZeroDivisionError):
        workers.submit(lambda: 1 / 0).result(_DEADLINE)


def test_the_first_failure_is_raised_and_nothing_more_is_begun(workers: ThreadPool) -> None:
    begun: list[int] = []
    held = threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if item == 7:
            raise OSError("no memory")
        held.wait(_DEADLINE)

    with pytest.raises(OSError, match="no memory"):
        workers.each(work, range(100))
    held.set()
    workers.submit(list).result(_DEADLINE)  # what still stood in the queue would have come before this
    assert len(begun) < 20


def test_the_end_waits_for_what_runs_and_begins_nothing_more() -> None:
    workers = ThreadPool()
    held, begun, ended = threading.Event(), threading.Semaphore(0), []

    def work() -> None:
        begun.release()
        held.wait(_DEADLINE)
        ended.append(1)

    for _ in range(12):
        workers.submit(work)
    for _ in range(8):
        assert begun.acquire(timeout=_DEADLINE)
    threading.Timer(0.02, held.set).start()
    workers.stop()
    assert len(ended) == 8
    with pytest.raises(RuntimeError):
        workers.submit(work)
