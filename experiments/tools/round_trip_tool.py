"""Sends requests and responses of a few bytes over one TCP connection, as netperf's TCP_RR does.

A script that runs inside a node's namespace and uses the standard library only. The loop is plain Python.
A loop compiled by Numba was 2 us faster, both ends together. The round trip took 20 us, over a bare veth
pair on one CPU. All measurements have the same extra time.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import socket
import struct
import sys
import time
from array import array
from collections.abc import Callable, Sequence

_SILENCE = 5  # seconds without an answer after which the connection counts as broken


def summary(nanoseconds: Sequence[int], seconds: float) -> dict[str, float]:
    """Summarise the round trips, in us. Percentiles are as in `experiments.statistics`, which a script cannot import.

    Raises:
        ValueError: there are no samples, or `seconds` is not above 0.
    """
    if not nanoseconds or seconds <= 0:
        raise ValueError("no transaction was completed")
    ordered, count = sorted(nanoseconds), len(nanoseconds)
    found: dict[str, float] = {
        "transactions": count,
        "seconds": seconds,
        "per_second": count / seconds,
        "mean_us": sum(ordered) / count / 1e3,
        "min_us": ordered[0] / 1e3,
    }
    for name, share in (("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99), ("p999_us", 0.999)):
        low = int(at := share * (count - 1))
        high = min(low + 1, count - 1)
        found[name] = (ordered[low] + (ordered[high] - ordered[low]) * (at - low)) / 1e3
    found["max_us"] = ordered[-1] / 1e3
    return found


def _prepare(connection: socket.socket, congestion: str) -> None:
    if congestion:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A time-out of the Python socket would add a poll() to every receive.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _SILENCE, 0))


def serve(address: str, size: int, congestion: str = "") -> None:
    """Answer one client until it closes the connection."""
    with socket.create_server((address, 0)) as listener:
        print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
        connection, _ = listener.accept()
    with connection:
        _prepare(connection, congestion)
        answer = bytes(size)
        receive, send = connection.recv, connection.send
        while _whole(receive, size):
            send(answer)


def _whole(receive: Callable[[int], bytes], size: int) -> bool:
    """Receive one message. False: the peer has closed the connection."""
    left = size
    while left:
        got = len(receive(left))
        if not got:
            return False
        left -= got
    return True


def measure(address: str, port: int, seconds: float, omit: float, size: int, congestion: str = "") -> dict[str, float]:
    """Measure transactions for `seconds`, after `omit` seconds that do not count."""
    with socket.create_connection((address, port), timeout=_SILENCE) as connection:
        connection.settimeout(None)
        _prepare(connection, congestion)
        for span in (omit, seconds):
            samples, begun, over = _transactions(connection, span, size)
    return summary(samples, (over - begun) / 1e9)


def _transactions(connection: socket.socket, seconds: float, size: int) -> tuple[array[int], int, int]:
    request = bytes(size)
    receive, send, now = connection.recv, connection.send, time.perf_counter_ns
    samples = array("q")
    add = samples.append
    begun = before = now()
    end = begun + int(seconds * 1e9)
    while before < end:
        send(request)
        if len(receive(size)) != size and not _whole(receive, size):
            raise ConnectionError("the other end closed the connection")
        after = now()
        add(after - before)
        before = after
    return samples, begun, before


def main() -> int:
    """Run `python round_trip_tool.py serve|measure ...`. Prints JSON documents on standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["serve", "measure"])
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--omit", type=float, default=0.0)
    parser.add_argument("--size", type=int, default=1)
    parser.add_argument("--congestion", default="")
    parser.add_argument("--cpu", type=int)
    parser.add_argument("--limit", type=int, default=60)
    given = parser.parse_args()
    signal.alarm(given.limit)  # the parent process may be gone
    gc.disable()
    if given.cpu is not None:
        os.sched_setaffinity(0, {given.cpu})
    try:
        if given.role == "serve":
            serve(given.address, given.size, given.congestion)
            return 0
        found = measure(given.address, given.port, given.seconds, given.omit, given.size, given.congestion)
    except BlockingIOError:
        print(json.dumps({"error": f"no answer for {_SILENCE} s"}))
        return 1
    except (OSError, ValueError) as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
