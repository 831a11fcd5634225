"""The link element between two taps: how exact its delays are, what a Gbit/s costs, what it loses.

- quiet: packets one at a time through a delay of 10 ms, by the clock of one process.
- load: frames of 1,450 bytes at 1 Gbit/s, and frames of 64,000 bytes as the fast path sends whole segments.
- chance: 100,000 packets with a loss of 1 %, twice with one seed, then with jitter.
- places: links in threads of one process, or in a process each; memory and CPU time.

Contestants take turns. The devices are in a namespace of their own.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import command, report
from benchmarks.harness.bars import Bar
from benchmarks.harness.pauses import pause
from benchmarks.harness.statistics import distribution, turns
from console.runs import need_root
from console.show import tables
from experiments.frame.progress import Progress
from experiments.tools.bare_namespaces import Namespace
from hoverboard.contract.encapsulation import FABRIC_MTU
from hoverboard.contract.links.link_properties import LinkProperties
from hoverboard.fastpath.link.link_thread import LinkThread, load
from topologies.emulation import devices

DELAY = 0.010  # seconds
RATE = 1e9  # bit/s
FRAMES = {"1,450-byte frames": 1450, "64,000-byte segments": 64_000}
LOSS = 0.01
PACKETS = 100_000
_ETHER_TYPE = 0x88B5  # local experimental
_SLICE = 0.0002  # seconds between two bursts of the generator
_Z99 = 2.5758  # of the normal distribution: 99 % lie within
_TIMEOUT = 2.0
_SNDBUF = 1 << 22
_PRIORITY = -15  # nice level: other work on the machine is not what is measured
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a measurement: packets when quiet, rounds and seconds of a load, packets with loss, links."""

    quiet: int
    rounds: int
    seconds: float
    packets: int
    links: int


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32), ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int), ("padding", ctypes.c_int), ("sent", ctypes.c_uint32),
    )  # fmt: skip


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_libc = ctypes.CDLL(None, use_errno=True)


class Generator:
    """Sends equal frames out of a packet socket, many with one system call."""

    MOST = 512

    def __init__(self, sock: socket.socket, size: int) -> None:
        self._sock = sock
        self._frame = ctypes.create_string_buffer(frame(0, size), size)
        self._vector = _Vector(ctypes.addressof(self._frame), size)
        self._messages = (_Message * self.MOST)()
        for message in self._messages:
            message.vectors, message.vector_count = ctypes.addressof(self._vector), 1

    def run(self, per_second: float, seconds: float) -> int:
        """Send at an even rate; returns the number of frames that the socket took."""
        begin = time.perf_counter()
        sent = offered = 0
        while (passed := time.perf_counter() - begin) < seconds:
            wanted = min(int(passed * per_second) - offered, self.MOST)
            if wanted > 0:
                offered += wanted
                sent += max(0, _libc.sendmmsg(self._sock.fileno(), self._messages, wanted, 0))
            if int((time.perf_counter() - begin) * per_second) - offered < 64:
                pause(_SLICE)
        return sent


def frame(number: int, size: int) -> bytes:
    """An Ethernet frame with a number in its payload."""
    head = bytes.fromhex("ffffffffffff020000000001") + struct.pack("!HQ", _ETHER_TYPE, number)
    return head.ljust(size, b"\0")


def number_of(received: bytes) -> int:
    """The number in a frame of `frame`."""
    return int(struct.unpack_from("!Q", received, 14)[0])


class Rig:
    """A namespace with two taps that a link joins, and a packet socket on each.

    Args:
        place: the namespace.
        name: a short word that no other rig of the namespace has.
    """

    def __init__(self, place: Namespace, name: str = "") -> None:
        self._place = place
        self.names = (f"near{name}", f"far{name}")
        self.fds = []
        with devices.netlink(place.pid) as route:
            devices.disable_ipv6()
            for device in self.names:
                self.fds.append(devices.open_tap(device, (0,)))
                devices.deepen(route, device)
                route.link("set", index=devices.index(route, device), mtu=FABRIC_MTU, state="up")

    def socket(self, device: str, *, reads: bool) -> socket.socket:
        """A packet socket on one of the devices; `reads`: it gets the frames of this benchmark."""
        with devices.entered(self._place.pid):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHER_TYPE) if reads else 0)
        sock.bind((device, _ETHER_TYPE if reads else 0))
        sock.setsockopt(
            socket.SOL_SOCKET, _SO_RCVBUFFORCE if reads else socket.SO_SNDBUF, 1 << 26 if reads else _SNDBUF
        )
        sock.settimeout(_TIMEOUT)
        return sock

    def link(self, properties: LinkProperties) -> LinkThread:
        """A thread that serves the link, with copies of the descriptors."""
        made = LinkThread(os.dup(self.fds[0]), os.dup(self.fds[1]))
        made.set_properties(properties)
        made.start()
        return made

    def close(self) -> None:
        """Close the descriptors of the taps."""
        for fd in self.fds:
            os.close(fd)


@contextlib.contextmanager
def rigs(count: int) -> Iterator[list[Rig]]:
    """So many rigs in one namespace."""
    place = Namespace("link")
    made: list[Rig] = []
    try:
        made += [Rig(place, str(number)) for number in range(count)]
        yield made
    finally:
        for rig in made:
            rig.close()
        place.close()


def one_way(rig: Rig, count: int, gap: float) -> list[float]:
    """Seconds from send to receive of packets that are alone in the link.

    Args:
        rig: the rig, which has a link.
        count: how many.
        gap: seconds between two packets.
    """
    found = []
    with rig.socket(rig.names[0], reads=False) as near, rig.socket(rig.names[1], reads=True) as far:
        for number in range(count):
            begin = time.perf_counter()
            near.send(frame(number, 100))
            far.recv(2048)
            found.append(time.perf_counter() - begin)
            pause(gap)
    return found


def numbers(rig: Rig, count: int) -> list[int]:
    """The numbers of the packets that arrive, in this order, of `count` packets that are sent."""
    found: list[int] = []
    with rig.socket(rig.names[0], reads=False) as near, rig.socket(rig.names[1], reads=True) as far:
        far.setblocking(False)

        def receive() -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    found.append(number_of(far.recv(64)))

        for number in range(count):
            near.send(frame(number, 60))
            if number % 256 == 255:  # fewer than the tap holds
                pause(_SLICE)
                receive()
        last, end = -1, time.perf_counter() + _TIMEOUT
        while len(found) != last or time.perf_counter() < end:
            last = len(found)
            pause(0.1)
            receive()
    return found


def within_chance(lost: int, count: int, share: float) -> float:
    """How far the lost packets are from their expected number, as a part of the 99 % interval of the binomial."""
    return abs(lost - count * share) / (_Z99 * math.sqrt(count * share * (1 - share)))


def under_load(rig: Rig, size: int, seconds: float) -> dict[str, float]:
    """CPU time (cores) and the part of the packets that arrived, at RATE with frames of `size` bytes."""
    link = rig.link(LinkProperties(delay=DELAY))
    try:
        with rig.socket(rig.names[0], reads=False) as near:
            generator = Generator(near, size)
            generator.run(RATE / 8 / size, 0.2)
            begin, before, cpu = time.perf_counter(), link.counters()[0], link.cpu_seconds()
            sent = generator.run(RATE / 8 / size, seconds)
            passed, spent = time.perf_counter() - begin, link.cpu_seconds() - cpu
            pause(5 * DELAY)
            arrived = link.counters()[0]["sent"] - before["sent"]
    finally:
        link.close()
    return {"cores": spent / passed, "gbps": sent * size * 8 / passed / 1e9, "arrived": arrived / max(1, sent)}


# --- threads or processes -----------------------------------------------------------------------------------------------


def _pss(pid: int | str) -> float:
    """MiB of memory of a process, shared pages by their part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return math.nan


def _forked(work: Callable[[], None]) -> int:
    """The pid of a child that does some work until it is killed."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            signal.pause()
        finally:
            os._exit(1)
    return pid


def placed(rigs_: Sequence[Rig], *, threads: bool, seconds: float) -> dict[str, float]:
    """MiB and cores of links that serve RATE together, in one process or in a process each."""

    def serve(some: Sequence[Rig]) -> Callable[[], None]:
        def work() -> None:
            for rig in some:
                rig.link(LinkProperties(delay=DELAY))

        return work

    pids = [_forked(serve(some)) for some in ([rigs_] if threads else [[rig] for rig in rigs_])]
    try:
        pause(0.5)
        size, share = 1450, RATE / 8 / 1450 / len(rigs_)
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(rig.socket(rig.names[0], reads=False)) for rig in rigs_]
            generators = [Generator(sock, size) for sock in sockets]
            begin, cpu, sent = time.perf_counter(), sum(map(_cpu, pids)), 0
            while time.perf_counter() - begin < seconds:
                for generator in generators:
                    sent += generator.run(len(rigs_) * share, 0.002)
            passed = time.perf_counter() - begin
        return {
            "mib": sum(map(_pss, pids)), "cores": (sum(map(_cpu, pids)) - cpu) / passed,
            "gbps": sent * size * 8 / passed / 1e9,
        }  # fmt: skip
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _cpu(pid: int) -> float:
    """CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- the whole ----------------------------------------------------------------------------------------------------------


def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """All figures."""
    load()
    figures: dict[str, Any] = {"load": {what: [] for what in FRAMES}, "places": {"threads": [], "processes": []}}
    with rigs(1) as (rig,):
        progress("delay when quiet", 0.0)
        for name, properties in (("delayed", LinkProperties(delay=DELAY)), ("plain", LinkProperties())):
            link = rig.link(properties)
            try:
                one_way(rig, 20, 0.001)
                figures[name] = one_way(rig, plan.quiet, 0.002)
            finally:
                link.close()
        for number, order in enumerate(turns(list(FRAMES), plan.rounds)):
            progress(f"load, round {number + 1} of {plan.rounds}", 0.3 + 0.3 * number / plan.rounds)
            for what in order:
                figures["load"][what].append(under_load(rig, FRAMES[what], plan.seconds))
        progress("loss and order", 0.6)
        figures["chance"] = chance(rig, plan.packets)
    with rigs(plan.links) as several:
        for number, order in enumerate(turns(["threads", "processes"], plan.rounds)):
            progress(f"places, round {number + 1} of {plan.rounds}", 0.8 + 0.2 * number / plan.rounds)
            for where in order:
                found = placed(several, threads=where == "threads", seconds=plan.seconds)
                figures["places"][where].append(found)
    return figures


def chance(rig: Rig, count: int) -> dict[str, Any]:
    """Lost packets of `count`; whether the same seed loses the same ones; packets out of order with jitter."""
    link = rig.link(LinkProperties(loss=LOSS, seed=7))
    try:
        first = numbers(rig, count)
        link.set_properties(LinkProperties(loss=LOSS, seed=7))
        second = numbers(rig, count)
        link.set_properties(LinkProperties(delay=0.002, jitter=0.002, seed=7))
        jittered = numbers(rig, count // 10)
        counters = link.counters()[0]
    finally:
        link.close()
    return {
        "packets": count, "lost": count - len(first), "same": first == second, "counters": counters,
        "disordered": sum(one > other for one, other in zip(jittered, jittered[1:], strict=False)),
        "jittered_lost": count // 10 - len(jittered),
    }  # fmt: skip


def bars(figures: dict[str, Any]) -> list[Bar]:
    """The bars of the link element, with the measured values."""
    delayed = distribution(figures["delayed"])
    found = [
        Bar("quiet, delay of 10 ms: how far the median is off", abs(delayed.median - DELAY) * 1e3, 0.5, "<=", "ms"),
        Bar("quiet, delay of 10 ms: p99 above it", (delayed.p99 - DELAY) * 1e3, 1.0, "<=", "ms"),
    ]
    for what, rounds in figures["load"].items():
        cores, arrived, gbps = (statistics.median(one[key] for one in rounds) for key in ("cores", "arrived", "gbps"))
        found.append(Bar(f"{what} at 1 Gbit/s: CPU time", cores, 0.5, "<", "cores"))
        found.append(Bar(f"{what}: offered", gbps, 0.95, ">=", "Gbit/s"))
        found.append(Bar(f"{what}: part that arrived", arrived, 0.999, ">=", ""))
    made = figures["chance"]
    found.append(
        Bar(
            "loss of 1 %: distance from it, in 99 % intervals",
            within_chance(made["lost"], made["packets"], LOSS),
            1,
            "<=",
            "x",
        )
    )
    found.append(Bar("two runs of one seed lose different packets", float(not made["same"]), 0, "<=", ""))
    found.append(Bar("packets out of order with jitter", made["disordered"], 0, "<=", ""))
    return found


def main() -> int:
    """Run `python -m benchmarks.link_element`."""
    parser = command.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="a first look: fewer rounds and packets")
    given = parser.parse_args()
    plan = Plan(200, 1, 1.0, 20_000, 4) if given.quick else Plan(1000, 5, 4.0, PACKETS, 8)

    def run(progress: Progress) -> int:
        need_root("the benchmark")
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
        figures = measure(plan, progress)
        rows = []
        for name in ("delayed", "plain"):
            one = distribution(figures[name])
            rows.append((name, *(f"{value * 1e3:.3f}" for value in (one.minimum, one.median, one.p99, one.maximum))))
        shown = [tables.table("one way, ms", ("link", "#least", "#median", "#p99", "#most"), rows)]
        rows = []
        for where, rounds in figures["places"].items():
            values = (statistics.median(one[key] for one in rounds) for key in ("mib", "cores", "gbps"))
            rows.append((f"{plan.links} links in {where}", *(f"{value:.2f}" for value in values)))
        shown.append(tables.table("places", ("", "#MiB (PSS)", "#cores", "#Gbit/s"), rows))
        return report.finish(
            "link_element", asdict(plan), figures, bars(figures), shown, as_json=given.json, out=given.out
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
