"""The load, the same for each port: one TCP stream, a flood of 64-byte UDP frames, 1-byte TCP round trips.

Sockets are made inside the VMs' namespaces; compiled threads of this process use them.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.harness.pauses import pause
from benchmarks.ports import libc
from benchmarks.ports.libc import Bytes, Words, message_vector, nanoseconds
from experiments.statistics import percentile
from hoverboard.contract.errors import MeasurementError
from hoverboard.fastpath.compiled.compiler import compiled, compiled_loop
from topologies.emulation.devices import entered

_CHUNK = 1 << 17
_UDP_PAYLOAD = 22  # 14 Ethernet + 20 IPv4 + 8 UDP + 22 = 64 bytes
_UDP_BATCH = 32
_TRIPS_MOST = 200_000


@compiled
def send_stream(fd: int, buf: Bytes, stop: Words) -> None:
    """Write until stop[0] or an error."""
    while stop[0] == 0:
        if libc.write(np.int32(fd), np.uintp(buf.ctypes.data), np.uintp(len(buf))) < 0:
            return


@compiled
def receive_stream(fd: int, buf: Bytes, stop: Words, count: Words) -> None:
    """Read until the end of the stream, and count bytes in count[0]."""
    while True:
        n = libc.read(np.int32(fd), np.uintp(buf.ctypes.data), np.uintp(len(buf)))
        if n <= 0:
            return
        count[0] += n


@compiled
def send_datagrams(fd: int, headers: Words, stop: Words, count: Words) -> None:
    """Send batches until stop[0], and count datagrams in count[0]."""
    while stop[0] == 0:
        n = libc.sendmmsg(np.int32(fd), np.uintp(headers.ctypes.data), np.uint32(len(headers)), np.int32(0))
        if n > 0:
            count[0] += n


@compiled
def receive_datagrams(fd: int, headers: Words, stop: Words, count: Words) -> None:
    """Receive until stop[0], and count datagrams in count[0]; the socket has a receive timeout."""
    while stop[0] == 0:
        n = libc.recvmmsg(
            np.int32(fd), np.uintp(headers.ctypes.data), np.uint32(len(headers)), np.int32(libc.MSG_WAITFORONE),
            np.uintp(0),
        )  # fmt: skip
        if n > 0:
            count[0] += n


@compiled
def echo(fd: int, byte: Bytes) -> None:
    """Send each received byte back until the end of the stream."""
    address = np.uintp(byte.ctypes.data)
    while libc.read(np.int32(fd), address, np.uintp(1)) == 1:
        libc.write(np.int32(fd), address, np.uintp(1))


@compiled_loop
def round_trips(fd: int, byte: Bytes, samples: Words, stop: Words) -> int:
    """Make round trips until stop[0] or samples is full; returns their number. samples[] gets nanoseconds."""
    spec = np.zeros(2, np.int64)
    address = np.uintp(byte.ctypes.data)
    done = 0
    while done < len(samples) and stop[0] == 0:
        before = nanoseconds(spec)
        libc.write(np.int32(fd), address, np.uintp(1))
        if libc.read(np.int32(fd), address, np.uintp(1)) != 1:
            break
        samples[done] = nanoseconds(spec) - before
        done += 1
    return done


@contextlib.contextmanager
def running(*jobs: tuple[Any, ...]) -> Iterator[None]:
    """Run each job, a compiled function and its arguments, in a thread; joins them after the block."""
    threads = [threading.Thread(target=job[0], args=job[1:], daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(10)


@contextlib.contextmanager
def connection(source: int, target: int, address: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection between the namespaces of two pids: (client's end, server's end)."""
    with contextlib.ExitStack() as stack:
        with entered(target):
            listener = stack.enter_context(socket.create_server((address, 0)))
        with entered(source):
            client = stack.enter_context(socket.socket())
        client.settimeout(5)
        try:
            client.connect(listener.getsockname())
            listener.settimeout(5)
            server, _ = listener.accept()
        except OSError as error:
            raise MeasurementError(
                f"no TCP connection: {error}", where=address, next_step="run the port's forwarder alone"
            ) from error
        stack.enter_context(server)
        for end in (client, server):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield client, server


def tcp(source: int, target: int, address: str, seconds: float, marked: Callable[[], None]) -> float:
    """Gbit/s of one stream. `marked` is called when the window opens and when it closes."""
    stop, count = np.zeros(1, np.int64), np.zeros(1, np.int64)
    out, into = np.zeros(_CHUNK, np.uint8), np.zeros(_CHUNK, np.uint8)
    with (
        connection(source, target, address) as (client, server),
        running((send_stream, client.fileno(), out, stop), (receive_stream, server.fileno(), into, stop, count)),
    ):
        pause(seconds / 4)
        marked()
        first, began = int(count[0]), time.monotonic()
        pause(seconds)
        received, took = int(count[0]) - first, time.monotonic() - began
        marked()
        stop[0] = 1
        client.shutdown(socket.SHUT_RDWR)
    return received * 8 / took / 1e9


def udp(source: int, target: int, address: str, seconds: float, marked: Callable[[], None]) -> tuple[float, float]:
    """Datagrams a second in 64-byte frames: (delivered, sent)."""
    stop, sent, got = np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64)
    out, into = np.zeros(64 * _UDP_BATCH, np.uint8), np.zeros(64 * _UDP_BATCH, np.uint8)
    send_headers, send_vectors = message_vector(out, _UDP_BATCH, 64, _UDP_PAYLOAD)
    receive_headers, receive_vectors = message_vector(into, _UDP_BATCH, 64, 64)
    with contextlib.ExitStack() as stack:
        with entered(target):
            server = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        with entered(source):
            client = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        server.bind((address, 0))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, np.array([0, 50_000], np.int64).tobytes())
        client.connect(server.getsockname())
        with running(
            (send_datagrams, client.fileno(), send_headers, stop, sent),
            (receive_datagrams, server.fileno(), receive_headers, stop, got),
        ):
            pause(seconds / 4)
            marked()
            first, first_sent, began = int(got[0]), int(sent[0]), time.monotonic()
            pause(seconds)
            took = time.monotonic() - began
            rates = (int(got[0]) - first) / took, (int(sent[0]) - first_sent) / took
            marked()
            stop[0] = 1
    del send_vectors, receive_vectors
    return rates


def trips(source: int, target: int, address: str, seconds: float, marked: Callable[[], None]) -> tuple[float, float]:
    """1-byte TCP request and response, microseconds: (median, 90th percentile)."""
    stop, samples = np.zeros(1, np.int64), np.zeros(_TRIPS_MOST, np.int64)
    result: list[int] = []
    with connection(source, target, address) as (client, server):

        def ask() -> None:
            result.append(round_trips(client.fileno(), np.zeros(1, np.uint8), samples, stop))
            client.shutdown(socket.SHUT_RDWR)

        with running((ask,), (echo, server.fileno(), np.zeros(1, np.uint8))):
            marked()
            pause(seconds)
            marked()
            stop[0] = 1
    if not result or result[0] < 10:
        raise MeasurementError("fewer than 10 round trips", where=address, next_step="run the port's forwarder alone")
    found = [float(one) / 1e3 for one in samples[result[0] // 10 : result[0]]]
    return percentile(found, 0.5), percentile(found, 0.9)
