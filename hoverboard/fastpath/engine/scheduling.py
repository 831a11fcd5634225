"""Decides when an engine runs: which ports have packets, and when the thread may sleep (paper 4.1, 4.2).

A thread serves the engines of one host, or of several ("compacting"). A port that had packets is "hot": the engine
reads it before it asks the kernel, because epoll_wait costs more than a read. A thread without work spins for a while
before it sleeps ("adaptive"), or never sleeps ("dedicated", the paper's reserved CPU).
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
WAKE = (1 << 32) - 1  # data of the events of the thread's own eventfd
# state[]: state of the thread. SPIN: ns to spin before it sleeps (-1: without a limit). LAST: time of its last
# work. WORKED: whether it has worked since then. HOT: rows of hot[] in use. SPINNING: whether it spins.
# CREDIT: credit for spinning. IDLES: how often it ran out of work.
T_STOP, T_EPOLL, T_WAKE, T_SPIN, T_LAST, T_WORKED, T_HOT, T_PASSES, T_NOW, T_SLEEPS = range(10)
T_SPINNING, T_CREDIT, T_IDLES = 10, 11, 12
# hot[]: engine, port, time (ns) from which its rate limit allows packets
HOT_ENGINE, HOT_PORT, HOT_DUE = 0, 1, 2
# Spinning pays if the next packet comes from another core while the thread spins. If all cores are busy, spinning
# delays the sender of that packet. So the thread learns: a spin that finds a packet earns 1 credit, a spin without
# one costs 4. Without credit it tries a few spins now and then. Measured by benchmarks/ports; our numbers.
EARNED, SPENT, MOST_CREDIT = 1, 4, 16
TRY_EVERY, TRIES = 256, 3
EPOLL_EVERY = 4  # passes between two calls of epoll_wait() while ports are hot


class Thread(NamedTuple):
    """The state of one scheduling thread."""

    state: I64  # (16,)
    hot: I64  # (MAX_ENGINES * 8, 3)
    is_hot: NDArray[np.uint8]  # (MAX_ENGINES, PORTS)
    events: NDArray[np.int32]  # (EVENTS * EVENT_WORDS,) what epoll_wait() fills
    clock: I64  # (2,)


def new_thread(epoll_fd: int, wake_fd: int, spin_ns: int) -> Thread:
    """The state of a new thread; its epoll descriptor must already watch its eventfd."""
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
    """Mark `port` of `engine` as hot: it has packets."""
    if not t.is_hot[engine, port] and t.state[T_HOT] < t.hot.shape[0]:
        t.is_hot[engine, port] = 1
        row = t.hot[t.state[T_HOT]]
        row[HOT_ENGINE] = engine
        row[HOT_PORT] = port
        row[HOT_DUE] = 0
        t.state[T_HOT] += 1


@compiled
def unmark_hot(t: Thread, at: int) -> None:
    """Remove row `at` from hot[]: the port is empty. The last row moves into its place."""
    t.is_hot[t.hot[at, HOT_ENGINE], t.hot[at, HOT_PORT]] = 0
    t.state[T_HOT] -= 1
    last = t.state[T_HOT]
    for word in range(3):
        t.hot[at, word] = t.hot[last, word]


@compiled
def update_hot(t: Thread, m: Memory, at: int, got: int) -> int:
    """Update row `at` of hot[] after `got` packets; returns 1 if it stays hot, 0 if another row took its place."""
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
    """Whether an idle thread spins instead of sleeping; updates the credit."""
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
    """The timeout for epoll_wait(): 0 while there is work or the thread spins, else ms to sleep (-1: until woken)."""
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
    """Mark the ports that have packets; sleep if no port has packets.

    Returns:
        1 if the thread's eventfd was written, 0 if not, -1 when the thread must end.
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
    """Mark the ports that are rings in memory and have packets: they have no descriptor for epoll."""
    for port in range(1, end):
        if m.ports[port, ports.KIND] == ports.KIND_RING and ring.waiting(m.side_index[port, rings.FROM_VMM]):
            mark_hot(t, engine, port)


def forget_host(t: Thread, host: int) -> None:
    """Remove a host's ports from hot[]; for the control thread, while the thread is paused."""
    rows = [row.copy() for row in t.hot[: t.state[T_HOT]] if row[HOT_ENGINE] // 2 != host]
    t.is_hot[2 * host : 2 * host + 2] = 0
    t.state[T_HOT] = len(rows)
    for at, row in enumerate(rows):
        t.hot[at] = row


def event_data(engine: int, port: int) -> int:
    """The data of the events of `port` of the engine with index `engine`."""
    return engine << 16 | port
