"""Serves a table of methods on a Unix socket; no peer can stop or delay it.

It survives peers that send half a message, too many bytes or rubbish, and peers that close or never read. A program
with its own loop polls the server's descriptor and calls `serve` when it is readable. Other programs call `start`,
which serves in a thread.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import logging
import os
import select
import signal
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
_LAST_SECONDS = 1.0  # for the answer to a request that still ran when the server closed
_log = logging.getLogger(__name__)


def listen(path: str | Path, mode: int = 0o600) -> socket.socket:
    """A listening socket at `path` with rights `mode` from the start; a socket left by a dead process is replaced.

    Raises:
        OSError: another kind of file is there, or the path is too long.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Before bind(), which makes the file with these rights: chmod() after it leaves a gap, and a umask would apply
        # to all threads.
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
        path: of the socket; an existing socket is replaced.
        methods: by name; or a function that returns the Service of each new connection.
        mode: rights of the socket.
        threads: run each request in its own thread, so that a long one delays no other; else in `serve`.
        where, log: see Answerer.
        connections: most at a time; one more gets an error and is closed.
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
        self._more_requests: collections.deque[Connection] = collections.deque()  # have sent several requests at once
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
        """Descriptor of the server: readable when there is something to serve."""
        return self._epoll.fileno()

    def start(self, name: str) -> None:
        """Serve in a thread until close()."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            self.serve(None)

    def serve(self, timeout: float | None = 0.0) -> None:
        """Serve what is ready, one request per connection; wait at most `timeout` seconds (None: without a limit)."""
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
            return  # else the peer has closed already
        connection = Connection(sock, self._longest)
        if len(self._connections) >= self._most:
            fault = RunError(f"more than {self._most} connections at a time", where=self._path)
            connection.end(self._answerer.error_answer(fault, last=True))
            return
        connection.service = self._methods(connection) if callable(self._methods) else Service(self._methods)
        self._connections.add(connection)
        self._watch(connection, select.EPOLLIN)

    def _reject_connection(self) -> None:
        """Close the next connection: no descriptor is left, and it would be ready without end."""
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
        """Close a connection, and call its `ended`."""
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
        """Do `work` for a connection, and close the connection if that fails."""
        try:
            work(connection)
        except BlockingIOError:
            pass  # the event belonged to an earlier connection with this number
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
        """Answer the next request, if it has arrived and the answer before it is sent."""
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
        """Make the loop return to a connection when it can go on."""
        if connection.sending:
            self._watch(connection, select.EPOLLOUT)
        elif connection.inbox.complete:
            # It may have sent thousands of requests: serve other connections in between.
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
        """Accept no more connections and close all; not from a method, unless it runs in a thread.

        A request that a thread still carries out gets its answer.
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
        """Close a forked child's copies of all descriptors, without any message to the peers."""
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


def serve_until_sigterm(server: Server) -> None:
    """Serve in this thread, the main one of its process, until SIGTERM. Ctrl-C is for the holder, which sends that."""
    stop_reader, stop_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(stop_writer)
    while stop_reader not in select.select([server.fileno(), stop_reader], [], [])[0]:
        server.serve()


def _spare() -> int:
    """Open a descriptor that can be given up when no other is left."""
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
