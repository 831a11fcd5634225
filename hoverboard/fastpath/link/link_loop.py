"""The loop of a link: reads packets from both devices, lets them wait, and sends each when it is due.

A packet alone is sent on time by a timer. When packets come by the thousand, a wake-up for each would cost more than
the packets. Then the loop sleeps for a tenth of the delay between two looks (`link_memory.NAP`).
"""

from __future__ import annotations

import numpy as np

from hoverboard.fastpath.compiled import syscalls
from hoverboard.fastpath.compiled.compiler import compiled, compiled_loop
from hoverboard.fastpath.link.due_queue import head, is_empty, room, take
from hoverboard.fastpath.link.impair import arrive, follow
from hoverboard.fastpath.link.link_memory import (
    ARMED,
    BUSY,
    EPOLL,
    EVENTS,
    FAILED,
    FRAME_BYTES,
    HANDLED,
    LENGTH,
    MEMORY_DROPS,
    NAP,
    OFFSET,
    PASSES,
    READABLE,
    SENT,
    STOP,
    TIMER,
    VNET_BYTES,
    WHEN,
    WINDOW,
    Direction,
    LinkThreadMemory,
)

BATCH = 64  # packets that one direction reads before the other has its turn
WINDOW_NS = 1_000_000
MANY = 16  # packets in a window, above which the loop naps; 16 a millisecond
WAKE = 2  # data of the wake-up's and the timer's events; 0 and 1: the devices


@compiled
def write(d: Direction, fd: int, offset: int, size: int) -> None:
    """Send a packet of the arena."""
    if syscalls.write(np.int32(fd), np.uintp(d.arena.ctypes.data) + np.uintp(offset), np.uintp(size)) >= 0:
        d.counts[SENT] += 1
    else:
        d.counts[FAILED] += 1


@compiled
def receive_packets(d: Direction, fd: int, out: int, now: int) -> int:
    """Read up to BATCH packets from a device; returns how many there were. state[READABLE] is 0 if it is empty."""
    count = 0
    follow(d)
    while count < BATCH:
        offset = room(d)
        place = np.uintp(d.scratch.ctypes.data)
        if offset >= 0:
            place = np.uintp(d.arena.ctypes.data) + np.uintp(offset)
        size = syscalls.read(np.int32(fd), place, np.uintp(FRAME_BYTES))
        if size <= VNET_BYTES:
            d.state[READABLE] = 0
            break
        count += 1
        if offset < 0:
            d.counts[MEMORY_DROPS] += 1
            continue
        for _ in range(arrive(d, offset, size, now)):
            write(d, out, offset, size)
    return count


@compiled
def send_due(d: Direction, fd: int, now: int) -> int:
    """Send the packets that are due; returns how many."""
    count = 0
    while not is_empty(d):
        record = d.records[head(d)]
        if record[WHEN] > now:
            break
        write(d, fd, record[OFFSET], record[LENGTH])
        take(d)
        count += 1
    return count


@compiled
def next_due(there: Direction, back: Direction) -> int:
    """The time (ns) at which the next packet of either direction is due; 0: none waits."""
    when = np.int64(0)
    if not is_empty(there):
        when = there.records[head(there), WHEN]
    if not is_empty(back):
        other = back.records[head(back), WHEN]
        if when == 0 or other < when:
            when = other
    return when


@compiled
def note_load(t: LinkThreadMemory, now: int, handled: int) -> None:
    """Count packets, and decide once a window whether there are many."""
    thread = t.thread
    thread[HANDLED] += handled
    passed = now - thread[WINDOW]
    if passed >= WINDOW_NS:
        thread[BUSY] = thread[HANDLED] * WINDOW_NS > MANY * passed
        thread[WINDOW] = now
        thread[HANDLED] = 0


@compiled
def nap(t: LinkThreadMemory, length: int) -> None:
    """Sleep for `length` ns, less than a second."""
    t.clock[2] = 0
    t.clock[3] = length
    syscalls.clock_nanosleep(
        np.int32(syscalls.CLOCK_MONOTONIC), np.int32(0), np.uintp(t.clock.ctypes.data) + np.uintp(16), np.uintp(0)
    )


@compiled
def set_timer(t: LinkThreadMemory, when: int) -> None:
    """Set the timer to a time (ns); 0: to none."""
    if t.thread[ARMED] == when:
        return
    t.thread[ARMED] = when
    t.clock[2] = 0  # struct itimerspec: interval, then value
    t.clock[3] = 0
    t.clock[4] = when // 1_000_000_000
    t.clock[5] = when % 1_000_000_000
    syscalls.timerfd_settime(
        np.int32(t.thread[TIMER]), np.int32(syscalls.TFD_TIMER_ABSTIME),
        np.uintp(t.clock.ctypes.data) + np.uintp(16), np.uintp(0),
    )  # fmt: skip


@compiled
def sleep(t: LinkThreadMemory, there: Direction, back: Direction, when: int) -> None:
    """Sleep until a device has packets, the time `when` (ns; 0: no time) comes, or the thread is woken."""
    set_timer(t, when)
    n = syscalls.epoll_wait(
        np.int32(t.thread[EPOLL]), np.uintp(t.events.ctypes.data), np.int32(EVENTS), np.int32(-1)
    )  # fmt: skip
    for i in range(n):
        source = t.events[i * syscalls.EVENT_WORDS + syscalls.EVENT_DATA_WORD]
        if source == 0:
            there.state[READABLE] = 1
        elif source == 1:
            back.state[READABLE] = 1


@compiled
def pass_once(t: LinkThreadMemory, there: Direction, back: Direction, near: int, far: int) -> int:
    """Receive and send what there is in both directions, without sleeping; returns the time of the pass (ns)."""
    t.thread[PASSES] += 1
    now = syscalls.now_ns(t.clock)
    handled = 0
    if there.state[READABLE]:
        handled += receive_packets(there, near, far, now)
    if back.state[READABLE]:
        handled += receive_packets(back, far, near, now)
    now = syscalls.now_ns(t.clock)
    handled += send_due(there, far, now)
    handled += send_due(back, near, now)
    note_load(t, now, handled)
    return now


@compiled_loop
def serve_link(t: LinkThreadMemory, there: Direction, back: Direction, near: int, far: int) -> None:
    """Serve a link until thread[STOP].

    Args:
        t: the thread's own memory.
        there: the direction from `near` to `far`.
        back: the direction from `far` to `near`.
        near: descriptor of a tap with virtio-net headers, non-blocking, as is `far`.
        far: descriptor of the tap at the other end.
    """
    there.state[READABLE] = 1
    back.state[READABLE] = 1
    while t.thread[STOP] == 0:
        now = pass_once(t, there, back, near, far)
        if there.state[READABLE] or back.state[READABLE]:
            continue
        if t.thread[BUSY]:
            nap(t, there.now[NAP])
            there.state[READABLE] = 1
            back.state[READABLE] = 1
            continue
        when = next_due(there, back)
        if when == 0 or when > now:
            sleep(t, there, back, when)
