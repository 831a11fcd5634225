"""When an engine runs: which ports have something to say, and when the thread may sleep (paper 4.1, 4.2).

A thread serves the engines of one host, or of several ("compacting"). A port that had packets is asked
again before the kernel is (epoll_wait costs more than a read); a thread that found nothing looks on for
a while before it sleeps ("adaptive"), or never sleeps ("dedicated", the paper's reserved CPU).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hoverboard.fastpath.compiled import syscalls
from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.memory import control, ports, rings
from hoverboard.fastpath.memory.arrays import I64, Memory
from hoverboard.fastpath.packets import ring

MAX_ENGINES = 256
EVENTS = 64
WAKE = (1 << 32) - 1  # what the thread's own eventfd is called among the events
# state[]: how the thread stands. SPIN: ns to look on before it sleeps (-1: for ever); LAST: when it last
# worked; WORKED: whether it has since; HOT: rows of hot[] in use; LOOKING: whether it looks on; CREDIT: what
# looking has earned; IDLES: how often it ran out of work.
T_STOP, T_EPOLL, T_WAKE, T_SPIN, T_LAST, T_WORKED, T_HOT, T_PASSES, T_NOW, T_SLEEPS = range(10)
T_SPINNING, T_CREDIT, T_IDLES = 10, 11, 12
# hot[]: engine, port, ns before which a rate limit holds it back
HOT_ENGINE, HOT_PORT, HOT_DUE = 0, 1, 2
# Looking on pays where the answer comes from another core within it, and where cores are taken it keeps away
# what it looks for. So the thread learns: a look that found something earns 1, one that did not costs 4, and
# without credit it tries a few now and then. Measured by benchmarks/ports; the numbers are ours.
EARNED, SPENT, MOST_CREDIT = 1, 4, 16
TRY_EVERY, TRIES = 256, 3
EPOLL_EVERY = 4  # passes between two looks at the other ports while some are hot


class Thread(NamedTuple):
    """What one scheduling thread remembers."""

    state: I64  # (16,)
    hot: I64  # (MAX_ENGINES * 8, 3)
    is_hot: NDArray[np.uint8]  # (MAX_ENGINES, PORTS)
    events: NDArray[np.int32]  # (EVENTS * EVENT_WORDS,) what epoll_wait() fills
    clock: I64  # (2,)


def new_thread(epoll_fd: int, wake_fd: int, spin_ns: int) -> Thread:
    """A thread's memory; its epoll descriptor must already watch its eventfd."""
    thread = Thread(
        state=np.zeros(16, np.int64),
        hot=np.zeros((MAX_ENGINES * 8, 3), np.int64),
        is_hot=np.zeros((MAX_ENGINES, ports.COUNT), np.uint8),
        events=np.zeros(EVENTS * syscalls.EVENT_WORDS, np.int32),
        clock=np.zeros(2, np.int64),
    )
    thread.state[T_EPOLL], thread.state[T_WAKE], thread.state[T_SPIN] = epoll_fd, wake_fd, spin_ns
    return thread


@compiled
def mark_hot(t: Thread, engine: int, port: int) -> None:
    """`port` of `engine` has something to say."""
    if not t.is_hot[engine, port] and t.state[T_HOT] < t.hot.shape[0]:
        t.is_hot[engine, port] = 1
        row = t.hot[t.state[T_HOT]]
        row[HOT_ENGINE] = engine
        row[HOT_PORT] = port
        row[HOT_DUE] = 0
        t.state[T_HOT] += 1


@compiled
def unmark_hot(t: Thread, at: int) -> None:
    """Row `at` of hot[] has nothing more to say; the last row takes its place."""
    t.is_hot[t.hot[at, HOT_ENGINE], t.hot[at, HOT_PORT]] = 0
    t.state[T_HOT] -= 1
    last = t.state[T_HOT]
    for word in range(3):
        t.hot[at, word] = t.hot[last, word]


@compiled
def update_hot(t: Thread, m: Memory, at: int, got: int) -> int:
    """After row `at` of hot[] was served `got` packets: 1 if it stays hot, 0 if another row took its place."""
    m.ctl[control.PASSES] += 1
    if got:
        t.state[T_WORKED] = 1
        if t.state[T_SPINNING]:
            t.state[T_SPINNING] = 0
            t.state[T_CREDIT] = min(t.state[T_CREDIT] + EARNED, MOST_CREDIT)
    t.hot[at, HOT_DUE] = m.ctl[control.DUE]
    if m.ctl[control.MORE] or m.ctl[control.QUEUED]:
        return 1
    unmark_hot(t, at)
    return 0


@compiled
def may_spin(t: Thread) -> bool:
    """Whether an idle thread is to look on rather than sleep; keeps the account of what looking earns."""
    state = t.state
    if state[T_SPIN] < 0:
        return True
    if state[T_WORKED]:
        state[T_WORKED] = 0
        state[T_LAST] = state[T_NOW]
        state[T_IDLES] += 1
        if state[T_IDLES] % TRY_EVERY == 0:
            state[T_CREDIT] = max(state[T_CREDIT], TRIES * SPENT)
        state[T_SPINNING] = state[T_CREDIT] > 0
    if not state[T_SPINNING]:
        return False
    if state[T_NOW] - state[T_LAST] < state[T_SPIN]:
        return True
    state[T_SPINNING] = 0
    state[T_CREDIT] = max(state[T_CREDIT] - SPENT, 0)
    return False


@compiled
def epoll_timeout(t: Thread) -> int:
    """For epoll_wait(): 0 while there is work or hope of it, else ms to sleep (-1: until woken)."""
    due = np.int64(0)
    for i in range(t.state[T_HOT]):
        if t.hot[i, HOT_DUE] <= t.state[T_NOW]:
            return 0
        if due == 0 or t.hot[i, HOT_DUE] < due:
            due = t.hot[i, HOT_DUE]
    if may_spin(t):
        return 0
    if due:
        return (due - t.state[T_NOW]) // 1_000_000 + 1
    return -1


@compiled
def wait_for_ports(t: Thread) -> int:
    """Mark the ports that have something to say, sleeping if need be.

    Returns:
        1 if somebody wrote to the thread's eventfd, 0 if not, -1 when the thread is to end.
    """
    state = t.state
    state[T_PASSES] += 1
    if state[T_HOT] and state[T_PASSES] % EPOLL_EVERY:
        return 0
    state[T_NOW] = syscalls.now_ns(t.clock)
    timeout = epoll_timeout(t)
    state[T_SLEEPS] += timeout != 0
    n = syscalls.epoll_wait(
        np.int32(state[T_EPOLL]), np.uintp(t.events.ctypes.data), np.int32(EVENTS), np.int32(timeout)
    )  # fmt: skip
    if timeout:
        state[T_NOW] = syscalls.now_ns(t.clock)
    woken = 0
    for i in range(n):
        at = i * syscalls.EVENT_WORDS + syscalls.EVENT_DATA_WORD
        data = np.int64(t.events[at]) & 0xFFFFFFFF
        if data == WAKE:
            syscalls.read(np.int32(state[T_WAKE]), np.uintp(t.clock.ctypes.data), np.uintp(8))
            woken = 1
        else:
            mark_hot(t, data >> 16, data & 0xFFFF)
    return -1 if state[T_STOP] else woken


@compiled
def mark_hot_rings(t: Thread, m: Memory, engine: int, end: int) -> None:
    """Ports that are rings in memory have no descriptor that could speak for them."""
    for port in range(1, end):
        if m.ports[port, ports.KIND] == ports.KIND_RING and ring.waiting(m.side_index[port, rings.FROM_VMM]):
            mark_hot(t, engine, port)


def forget_host(t: Thread, host: int) -> None:
    """No port of a host is hot any more; for the control thread, while the thread is paused."""
    rows = [row.copy() for row in t.hot[: t.state[T_HOT]] if row[HOT_ENGINE] // 2 != host]
    t.is_hot[2 * host : 2 * host + 2] = 0
    t.state[T_HOT] = len(rows)
    for at, row in enumerate(rows):
        t.hot[at] = row


def event_data(engine: int, port: int) -> int:
    """How `port` of the engine with index `engine` is called among the events."""
    return engine << 16 | port
