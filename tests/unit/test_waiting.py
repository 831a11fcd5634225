"""Waiting ends with the condition, or with what is missing."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.waiting import until, until_async


def test_it_ends_when_another_thread_has_brought_it_about() -> None:
    done: list[int] = []
    looks: list[int] = []

    def condition() -> bool:
        looks.append(1)
        if len(looks) == 3:
            threading.Thread(target=done.append, args=(1,)).start()
        return bool(done)

    until(condition)
    assert done
    asyncio.run(until_async(lambda: done))


def test_it_says_what_is_missing() -> None:
    with pytest.raises(AssertionError, match="after 0 s: the door is shut"):
        until(lambda: False, 0, "the door is shut")
    with pytest.raises(AssertionError, match="after 0 s: the door is shut"):
        asyncio.run(until_async(lambda: False, 0, "the door is shut"))


def test_how_long_it_took_is_by_the_loop_s_own_clock() -> None:
    async def both() -> float:
        task = asyncio.create_task(asyncio.sleep(0.01))
        return await until_async(task.done)

    assert asyncio.run(both()) >= 0.009
