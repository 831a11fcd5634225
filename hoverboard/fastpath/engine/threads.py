"""The threads that run engines: one per host, or one for several hosts; adaptive or dedicated (paper 4.2).

A thread watches the descriptors of its engines' ports with epoll, edge-triggered: after an event, the engine reads the
port until it is empty.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import threading

from hoverboard.contract.entities import Scheduling
from hoverboard.fastpath.compiled import syscalls
from hoverboard.fastpath.engine import engine_list
from hoverboard.fastpath.engine.compose import compose, note_compiled
from hoverboard.fastpath.engine.scheduling import T_STOP, WAKE, event_data, forget_host, new_thread
from hoverboard.fastpath.memory import control, host, ports
from hoverboard.fastpath.memory.arrays import Memory, allocate

# How long a thread spins before it sleeps, while spinning pays (our choice; docs/ports.md). A thread that
# serves all hosts may spin longer: it takes the CPU from no other engine thread.
SPIN_NS = {"adaptive": 50_000, "dedicated": -1, "compacting": 200_000}
# Nice level of the thread: prompt service, which the paper gets from a reserved CPU, as far as shared
# cores allow it. Distributions give ovs-vswitchd the same level.
PRIORITY = -10
_EPOLL_CTL_ADD, _EPOLL_CTL_DEL, _EPOLL_CTL_MOD = 1, 2, 3
_EVENTS = select.EPOLLIN | select.EPOLLET


class _Event(ctypes.Structure):
    _pack_ = 4 if syscalls.PACKED else 8
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


class EngineThread:
    """One scheduling thread and its engines. Methods are for one control thread, or under its lock.

    Args:
        scheduling: see SPIN_NS; "compacting" differs only in how long the thread spins.
        debug: debug elements to compose in.
    """

    def __init__(self, scheduling: Scheduling = "adaptive", debug: tuple[str, ...] = ()) -> None:
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._control(_EPOLL_CTL_ADD, self.wake_fd, WAKE)
        self._memory = new_thread(self._epoll.fileno(), self.wake_fd, SPIN_NS[scheduling])
        self._engines = engine_list.begin(allocate()[control.EGRESS])
        engine_list.clear(self._engines)
        self._hosts = 0
        self._debug = tuple(sorted(set(debug)))
        self._wanted = {-1: self._debug}  # debug elements by host; -1: those at the start of the thread
        self._composed = compose(debug)
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def add_host(self, memories: tuple[Memory, Memory]) -> int:
        """Add a host's engines, whether or not the thread runs; returns the host's number here."""
        running = self.alive
        self.pause()
        for memory in memories:
            engine_list.add(self._engines, memory)
        memories[control.EGRESS].host[host.WAKE_FD] = self.wake_fd
        self._hosts += 1
        if running:
            self.start()
        return self._hosts - 1

    def remove_host(self, host: int) -> None:
        """Remove a host's engines. Its number is not reused. The caller also removes its ports with unwatch()."""
        running = self.alive
        self.pause()
        for kind, unused in enumerate(allocate()):
            engine_list.put(self._engines, 2 * host + kind, unused)
        forget_host(self._memory, host)
        if running:
            self.start()

    def admit(self, fd: int) -> None:
        """Make sure that watch() can serve a port by `fd`. OSError: the descriptor cannot be polled."""
        self._control(_EPOLL_CTL_ADD, fd, WAKE, events=select.EPOLLET)

    def watch(self, host: int, port: int, fd: int) -> None:
        """Serve `port` of a host whenever `fd`, which was admitted, is readable."""
        engine = 2 * host + (control.INGRESS if port == ports.UPLINK else control.EGRESS)
        self._control(_EPOLL_CTL_MOD, fd, event_data(engine, port))

    def unwatch(self, fd: int) -> None:
        """Stop serving the port of `fd`."""
        with contextlib.suppress(OSError):
            self._control(_EPOLL_CTL_DEL, fd, 0)

    def retire(self, fd: int) -> None:
        """Stop using `fd`, in whose place the port has another one. When this returns, the caller may close it."""
        self.unwatch(fd)
        if self.alive:
            self.pause()
            self.start()

    def _control(self, operation: int, fd: int, data: int, events: int = _EVENTS) -> None:
        event = _Event(events, data)
        if self._libc.epoll_ctl(self._epoll.fileno(), operation, fd, ctypes.byref(event)) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def start(self) -> None:
        """Start the thread; the first call in a process without a warm cache compiles for a while."""
        self._memory.state[T_STOP] = 0
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(PermissionError):  # not root: the engines run at normal priority
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PRIORITY)
        self._composed.run(self._memory, self._engines)

    def set_debug(self, host: int, elements: tuple[str, ...]) -> None:
        """Set the debug elements of one host, and continue with those of all hosts. Memory stays; no packet is lost.

        If compose.is_compiled() is false, this compiles for a while; the engines run meanwhile.
        """
        self._wanted[host] = elements
        debug = tuple(sorted({element for wanted in self._wanted.values() for element in wanted}))
        if debug == self._debug:
            return
        composed = compose(debug)
        load(debug)
        running = self.alive
        self.pause()
        self._debug, self._composed = debug, composed
        if running:
            self.start()

    def run_once(self) -> None:
        """Run the thread's loop once in the calling thread, as if it was woken to end."""
        self._memory.state[T_STOP] = 1
        self.wake()
        self._composed.run(self._memory, self._engines)

    def wake(self) -> None:
        """Wake the thread, so that its engines read their rings."""
        os.eventfd_write(self.wake_fd, 1)

    def pause(self) -> None:
        """Stop the thread and keep all state; start() continues with it."""
        if self._thread is not None:
            self._memory.state[T_STOP] = 1
            self.wake()
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Stop the thread and close its descriptors."""
        self.pause()
        self._epoll.close()
        os.close(self.wake_fd)


def load(debug: tuple[str, ...] = ()) -> None:
    """Compile or load the code of an engine thread, without starting one."""
    thread = EngineThread("adaptive", debug)
    host = thread.add_host(allocate())
    thread.run_once()
    thread.remove_host(host)
    thread.close()
    note_compiled(debug)


__all__ = ["PRIORITY", "SPIN_NS", "EngineThread", "Scheduling", "load"]
