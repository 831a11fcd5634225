"""The cost of single system calls of the engine's loop: read, write, an empty read, poll, epoll, a clock.

The taps are up in a namespace of their own. Written frames have an unknown EtherType, so that the kernel drops them
right after the tap. Frames to read are sent beforehand through a packet socket.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import statistics

import numpy as np
from numba import types

from benchmarks.ports import libc, tap
from benchmarks.ports.libc import Bytes, Words, nanoseconds
from benchmarks.ports.rig import Builder, index_of
from hoverboard.contract.encapsulation import FABRIC_MTU
from hoverboard.fastpath.compiled.compiler import compiled_loop
from topologies.emulation.devices import entered, netlink

_MANY = 64
_LARGE, _SMALL = 64_000, 64
_QUEUED = 200
_TURNS = 20_000
_getppid = types.ExternalFunction("getppid", types.int32())


@compiled_loop
def time_getppid(turns: int) -> float:
    """Nanoseconds of a system call that does nothing."""
    spec = np.zeros(2, np.int64)
    before = nanoseconds(spec)
    for _ in range(turns):
        _getppid()
    return (nanoseconds(spec) - before) / turns


@compiled_loop
def time_clock(turns: int) -> float:
    """Nanoseconds of clock_gettime()."""
    spec = np.zeros(2, np.int64)
    before = nanoseconds(spec)
    for _ in range(turns):
        nanoseconds(spec)
    return (nanoseconds(spec) - before) / turns


@compiled_loop
def time_read(fd: int, buf: Bytes, turns: int) -> float:
    """Nanoseconds of each of `turns` read()s."""
    spec = np.zeros(2, np.int64)
    before = nanoseconds(spec)
    for _ in range(turns):
        libc.read(np.int32(fd), np.uintp(buf.ctypes.data), np.uintp(len(buf)))
    return (nanoseconds(spec) - before) / turns


@compiled_loop
def time_write(fd: int, buf: Bytes, length: int, turns: int) -> float:
    """Nanoseconds of each of `turns` write()s of `length` bytes."""
    spec = np.zeros(2, np.int64)
    before = nanoseconds(spec)
    for _ in range(turns):
        libc.write(np.int32(fd), np.uintp(buf.ctypes.data), np.uintp(length))
    return (nanoseconds(spec) - before) / turns


@compiled_loop
def time_poll(pollfds: Words, turns: int) -> float:
    """Nanoseconds of a poll() of all of `pollfds`, none of them readable."""
    spec = np.zeros(2, np.int64)
    before = nanoseconds(spec)
    for _ in range(turns):
        libc.poll(np.uintp(pollfds.ctypes.data), np.uintp(len(pollfds)), np.int32(0))
    return (nanoseconds(spec) - before) / turns


@compiled_loop
def time_epoll(epoll: int, events: Words, turns: int) -> float:
    """Nanoseconds of an epoll_wait() without events."""
    spec = np.zeros(2, np.int64)
    before = nanoseconds(spec)
    for _ in range(turns):
        libc.epoll_wait(np.int32(epoll), np.uintp(events.ctypes.data), np.int32(8), np.int32(0))
    return (nanoseconds(spec) - before) / turns


def _frame(length: int, header_length: int = 0) -> Bytes:
    frame = np.zeros(tap.VNET + _LARGE, np.uint8)
    frame[2] = header_length
    frame[tap.VNET : tap.VNET + 14] = np.frombuffer(bytes.fromhex("02000000000102000000000288b6"), np.uint8)
    return frame[: tap.VNET + length]


def _reads(fd: int, sender: socket.socket, length: int, into: Bytes) -> float:
    frame = _frame(length)[tap.VNET :].tobytes()
    while True:  # discard frames that the kernel sent itself
        try:
            os.read(fd, tap.SLOT)
        except BlockingIOError:
            break
    for _ in range(_QUEUED):
        sender.send(frame)
    return time_read(fd, into, _QUEUED)


def measure(rounds: int) -> dict[str, float]:
    """Nanoseconds by call, medians of `rounds`."""
    samples: dict[str, list[float]] = {}
    into = np.zeros(tap.SLOT, np.uint8)
    with contextlib.ExitStack() as stack:
        builder = Builder(stack)
        pid = builder.guests[0].pid
        with entered(pid):
            fds = [builder.close_at_end(tap.open_queue(f"tap{number}")) for number in range(_MANY)]
            napi = builder.close_at_end(tap.open_queue("napi", tap.IFF_NAPI))
            sender = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        with netlink(pid) as route:
            for name in (*(f"tap{number}" for number in range(_MANY)), "napi"):
                route.link("set", index=index_of(route, name), mtu=FABRIC_MTU, state="up")
        sender.bind(("tap0", 0))
        with contextlib.suppress(PermissionError):  # an ordinary user's run
            sender.setsockopt(socket.SOL_SOCKET, 32, 64 << 20)  # SO_SNDBUFFORCE
        pollfds = np.array([tap.pollfd(fd) for fd in fds], np.int64)
        epolls = {}
        for count in (4, _MANY):
            epolls[count] = stack.enter_context(select.epoll())
            for fd in fds[:count]:
                epolls[count].register(fd, select.EPOLLIN)
        events = np.zeros(64, np.int64)
        for _ in range(rounds + 1):  # the first compiles and is left out
            for name in ("read, 64 B", "read, 64 KB"):
                length = _SMALL if name.endswith("64 B") else _LARGE
                samples.setdefault(name, []).append(_reads(fds[0], sender, length, into))
            for fd in fds:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        os.read(fd, tap.SLOT)
            found = {
                "getppid (an empty call)": time_getppid(_TURNS),
                "clock_gettime": time_clock(_TURNS),
                "read, nothing there": time_read(fds[0], into, _TURNS),
                "poll, 1 port": time_poll(pollfds[:1], _TURNS),
                "poll, 4 ports": time_poll(pollfds[:4], _TURNS),
                f"poll, {_MANY} ports": time_poll(pollfds, _TURNS),
                "epoll_wait, 4 ports": time_epoll(epolls[4].fileno(), events, _TURNS),
                f"epoll_wait, {_MANY} ports": time_epoll(epolls[_MANY].fileno(), events, _TURNS),
                "write, 64 B": time_write(fds[1], _frame(_SMALL), tap.VNET + _SMALL, _TURNS),
                "write, 64 B, IFF_NAPI": time_write(napi, _frame(_SMALL), tap.VNET + _SMALL, _TURNS),
                "write, 64 KB, hdr_len 0": time_write(fds[1], _frame(_LARGE), tap.VNET + _LARGE, _TURNS // 10),
                "write, 64 KB, hdr_len 160": time_write(fds[1], _frame(_LARGE, 160), tap.VNET + _LARGE, _TURNS // 10),
            }
            for name, value in found.items():
                samples.setdefault(name, []).append(value)
    return {name: statistics.median(values[1:]) for name, values in samples.items()}
