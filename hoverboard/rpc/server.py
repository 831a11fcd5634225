"""Serves a table of callables on a Unix socket. No peer can stop it: not one that sends half a message, too much or
rubbish, not one that goes away or never reads.

A program with a loop of its own registers the server's descriptor there and calls `serve` when it can be read; for
another one, `start` does that in a thread.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import logging
import os
import select
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from hoverboard.contract.errors import HoverboardError, InputError, RunError
from hoverboard.rpc.answering import Answer, Answerer, Methods
from hoverboard.rpc.connection import Connection, Service
from hoverboard.rpc.descriptors import TooManyDescriptors
from hoverboard.rpc.messages import MOST_REQUEST, TooLong

MOST_CONNECTIONS = 256
_BACKLOG = 64
_LAST_SECONDS = 1.0  # for the answer to a request that was at work when the server closed
_log = logging.getLogger(__name__)


def listen(path: str | Path, mode: int = 0o600) -> socket.socket:
    """A listening socket at `path`, which never had more rights than `mode`; one that a dead process left is replaced.

    Raises:
        OSError: something else is there, or the path is too long.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Before bind(), which makes the file with these rights: a chmod() after it leaves a gap, and a umask is
        # that of all threads.
        os.fchmod(listener.fileno(), mode)
        listener.bind(str(path))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class Server:
    """Listens as soon as it is made.

    Args:
        path: of the socket; one that is there is replaced.
        methods: by name; or what gives each new connection its own.
        mode: rights of the socket.
        threads: run each request in a thread of its own, so that a long one holds up no other; else in `serve`.
        where, log: see Answerer.
        connections: most at a time; one more is told so, and closed.
        longest: bytes of a request.
    """

    def __init__(
        self,
        path: str | Path,
        methods: Methods | Callable[[Connection], Service],
        *,
        mode: int = 0o600,
        threads: bool = False,
        where: str = "",
        log: str = "the log files of the run",
        connections: int = MOST_CONNECTIONS,
        longest: int = MOST_REQUEST,
    ) -> None:
        self._methods = methods
        self._threads = threads
        self._path = str(path)
        self._answerer = Answerer(where, log)
        self._most, self._longest = connections, longest
        self._connections: set[Connection] = set()
        self._by_fd: dict[int, Connection] = {}
        self._more_requests: collections.deque[Connection] = collections.deque()  # have sent several requests
        self._answered: collections.deque[tuple[Connection, Answer]] = collections.deque()  # by threads
        self._closing = threading.Lock()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._listener = listen(path, mode)
        self._spare = _spare()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._epoll.register(self._wake, select.EPOLLIN)

    def fileno(self) -> int:
        """Readable when there is something to serve."""
        return self._epoll.fileno()

    def start(self, name: str) -> None:
        """Serve in a thread until close()."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            self.serve(None)

    def serve(self, timeout: float | None = 0.0) -> None:
        """Serve what is ready, a request a connection; wait for it `timeout` seconds at most, None: for ever."""
        for fd, _events in self._epoll.poll(timeout):
            if self._closed:
                return
            if fd == self._listener.fileno():
                self._accept()
            elif fd == self._wake:
                self._on_wake()
            elif (connection := self._by_fd.get(fd)) is not None:
                self._attend(connection, self._exchange)

    # -- connections ------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._reject_connection()
            return  # else it has gone again
        connection = Connection(sock, self._longest)
        if len(self._connections) >= self._most:
            fault = RunError(f"more than {self._most} connections at a time", where=self._path)
            connection.end(self._answerer.error_answer(fault, last=True))
            return
        connection.service = self._methods(connection) if callable(self._methods) else Service(self._methods)
        self._connections.add(connection)
        self._watch(connection, select.EPOLLIN)

    def _reject_connection(self) -> None:
        """No descriptor is left: close the next connection, or it would be ready for ever."""
        os.close(self._spare)
        with contextlib.suppress(OSError):
            self._listener.accept()[0].close()
        self._spare = _spare()
        _log.warning("%s: no descriptor is left: a connection was closed", self._path)

    def _watch(self, connection: Connection, wanted: int) -> None:
        fd = connection.socket.fileno()
        if wanted and connection.watched:
            self._epoll.modify(fd, wanted)
        elif wanted:
            self._by_fd[fd] = connection
            self._epoll.register(fd, wanted)
        elif connection.watched:
            del self._by_fd[fd]
            self._epoll.unregister(fd)
        connection.watched = wanted

    def _forget(self, connection: Connection) -> None:
        self._watch(connection, 0)
        self._connections.discard(connection)

    def _end(self, connection: Connection, fault: HoverboardError | None = None) -> None:
        """Close a connection, and tell whoever wants to know."""
        self._forget(connection)
        self._close_with(connection, None if fault is None else self._answerer.error_answer(fault, last=True))

    def _close_with(self, connection: Connection, answer: Answer | None, seconds: float = 0.0) -> None:
        connection.end(answer, seconds)
        try:
            connection.service.ended()
        except Exception:
            _log.exception("%s: after the end of a connection", self._path)

    # -- requests ---------------------------------------------------------------------------------

    def _attend(self, connection: Connection, work: Callable[[Connection], None]) -> None:
        """Do something for a connection, and end it when that cannot be done."""
        try:
            work(connection)
        except BlockingIOError:
            pass  # the event was of a connection before this one
        except (TooLong, TooManyDescriptors) as error:
            self._end(connection, InputError(str(error)))
        except OSError:
            self._end(connection)

    def _exchange(self, connection: Connection) -> None:
        if connection.sending:
            connection.flush()
        elif not connection.inbox.receive(connection.socket):
            self._end(connection)
            return
        self._next(connection)

    def _next(self, connection: Connection) -> None:
        """Answer the next request, if it is there and the answer before it has gone."""
        line = None if connection.sending else connection.inbox.line()
        if line is None:
            self._wait(connection)
        elif self._threads:
            self._start_worker(connection, line)
        else:
            answer = self._answerer.answer(connection.service.methods, line, connection.inbox)
            if connection.taken:
                self._forget(connection)
            else:
                self._deliver(connection, answer)

    def _start_worker(self, connection: Connection, line: bytes) -> None:
        self._watch(connection, 0)
        connection.working = True
        worker = threading.Thread(target=self._work, args=(connection, line), name="rpc-request", daemon=True)
        try:
            worker.start()
        except RuntimeError as error:  # no more threads
            connection.working = False
            self._deliver(connection, self._answerer.error_answer(RunError(str(error), where=self._path)))

    def _work(self, connection: Connection, line: bytes) -> None:
        answer = self._answerer.answer(connection.service.methods, line, connection.inbox)
        with self._closing:
            if not self._closed:
                self._answered.append((connection, answer))
                os.eventfd_write(self._wake, 1)
                return
        self._close_with(connection, answer, _LAST_SECONDS)

    def _deliver(self, connection: Connection, answer: Answer) -> None:
        connection.put(answer)
        connection.flush()
        self._wait(connection)

    def _wait(self, connection: Connection) -> None:
        """Have the loop come back to a connection when it can go on."""
        if connection.sending:
            self._watch(connection, select.EPOLLOUT)
        elif connection.inbox.complete:
            # It may have sent thousands of requests: others come between.
            self._watch(connection, 0)
            self._more_requests.append(connection)
            os.eventfd_write(self._wake, 1)
        else:
            connection.inbox.close_strays()
            self._watch(connection, select.EPOLLIN)

    def _on_wake(self) -> None:
        os.eventfd_read(self._wake)
        for _ in range(len(self._answered)):
            connection, answer = self._answered.popleft()
            connection.working = False
            self._attend(connection, lambda known, answer=answer: self._deliver(known, answer))  # type: ignore[misc]
        for _ in range(len(self._more_requests)):
            self._attend(self._more_requests.popleft(), self._next)

    # -- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more connections and end those that are there; not from a method, unless it runs in a thread.

        A request that is being carried out in a thread still gets its answer.
        """
        with self._closing:
            if self._closed:
                return
            self._closed = True
            os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            self._thread.join()
        for connection in [connection for connection in self._connections if not connection.working]:
            self._end(connection)
        for connection, answer in self._answered:
            self._close_with(connection, answer, _LAST_SECONDS)
        self._close_own()

    def close_in_child(self) -> None:
        """In a forked child, which does not serve: close its copies of everything, and tell nobody."""
        for connection in self._connections:
            connection.close()
        self._close_own()

    def _close_own(self) -> None:
        self._connections.clear()
        self._by_fd.clear()
        self._listener.close()
        self._epoll.close()
        os.close(self._spare)
        os.close(self._wake)


def _spare() -> int:
    """A descriptor to give up when there is no other."""
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
