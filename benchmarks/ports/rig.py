"""Two VMs, and between them the kernel's bridge, or a forwarder on one kind of port.

All devices are in namespaces that end with the block; none is made outside of them.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from pyroute2 import IPRoute

from benchmarks.ports import tap
from benchmarks.ports.libc import Bytes, Words
from experiments.tools.bare_namespaces import Namespace
from hoverboard.contract.encapsulation import GUEST_GSO_MAX, GUEST_MTU
from hoverboard.contract.errors import MachineError
from topologies.emulation.devices import disable_ipv6, entered, netlink

PRIORITY = -10  # of the engine's thread
DEFAULT_SPIN = 10_000
_ADDRESSES = ("198.18.0.1", "198.18.0.2")

# A forwarder: it prepares itself in its thread, runs until stop[0], and counts in stats.
Job = Callable[[Words, Words], None]


@dataclass(slots=True)
class Rig:
    """Two VMs by the pids of their namespaces, the second one's address, and the threads between them.

    Attributes:
        awake: during the measurement, idle cores of the whole machine spin instead of halting.
    """

    source: int
    target: int
    address: str
    awake: bool = False
    threads: list[threading.Thread] = field(default_factory=list)
    stats: list[Words] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        """CPU time of the forwarders so far."""
        return sum(
            time.clock_gettime(time.pthread_getcpuclockid(thread.ident)) for thread in self.threads if thread.ident
        )

    def counted(self, word: int) -> int:
        """A counter (tap.FRAMES ..), summed over the forwarders."""
        return sum(int(one[word]) for one in self.stats)


class Builder:
    """Makes namespaces and devices, and removes them in reverse order."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._stop = np.zeros(1, np.int64)
        self.guests = [self.namespace(f"port-vm{number}") for number in (1, 2)]
        self.rig = Rig(self.guests[0].pid, self.guests[1].pid, _ADDRESSES[1])

    def namespace(self, name: str) -> Namespace:
        """A new namespace with its loopback up."""
        made = Namespace(name)
        self._stack.callback(made.close)
        with netlink(made.pid) as route:
            disable_ipv6()
            route.link("set", index=1, state="up")
        return made

    def close_at_end(self, fd: int) -> int:
        """Close `fd` at the end, after the forwarders; returns it."""
        self._stack.callback(os.close, fd)
        return fd

    def keep_alive(self, memory: Bytes) -> Bytes:
        """Keep `memory` until all devices are removed; returns it."""
        self._stack.callback(memory.view)
        return memory

    def configure(self, number: int, *, queue_length: int | None = None, segments: bool = True) -> None:
        """Set address, MTU and segment size of eth0 of VM `number`, and set it up."""
        with netlink(self.guests[number].pid) as route:
            index = index_of(route, "eth0")
            settings: dict[str, object] = {"mtu": GUEST_MTU, "state": "up"}
            if segments:
                settings["gso_max_size"] = GUEST_GSO_MAX
            if queue_length is not None:
                settings["txqlen"] = queue_length
            route.link("set", index=index, **settings)
            route.addr("add", index=index, address=_ADDRESSES[number], prefixlen=24)

    def guest_tap(
        self, number: int, *, flags: int = 0, queues: int = 1, sndbuf: int | None = None,
        queue_length: int | None = None, rps: str | None = None,
    ) -> list[int]:  # fmt: skip
        """The descriptors of the queues of a new tap, which is eth0 of a VM."""
        with entered(self.guests[number].pid):
            fds = [self.close_at_end(tap.open_queue("eth0", flags, sndbuf=sndbuf)) for _ in range(queues)]
        if rps is not None:
            write_sysfs(self.guests[number].pid, "class/net/eth0/queues/rx-0/rps_cpus", rps)
        self.configure(number, queue_length=queue_length)
        return fds

    def veth(self, inner: Namespace, name: str, outer: Namespace, port: str, mtu: int) -> None:
        """Make a veth pair, both up: `name` in `inner`, `port` in `outer`."""
        target = os.open(f"/proc/{outer.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with netlink(inner.pid) as route:
                route.link(
                    "add", ifname=name, kind="veth", mtu=mtu, peer={"ifname": port, "net_ns_fd": target, "mtu": mtu}
                )
                route.link("set", index=index_of(route, name), state="up")
        finally:
            os.close(target)
        with netlink(outer.pid) as route:
            route.link("set", index=index_of(route, port), state="up")

    def bridge(self, name: str, mtu: int) -> Namespace:
        """A new namespace with a bridge `fabric`."""
        made = self.namespace(name)
        with netlink(made.pid) as route:
            route.link("add", ifname="fabric", kind="bridge", br_mcast_snooping=0)
            route.link("set", index=index_of(route, "fabric"), mtu=mtu, state="up")
        return made

    def plug(self, bridge: Namespace, port: str, mtu: int) -> None:
        """Add `port` to the bridge."""
        with netlink(bridge.pid) as route:
            master = index_of(route, "fabric")
            route.link("set", index=index_of(route, port), mtu=mtu, master=master, state="up")

    def run(self, job: Job) -> None:
        """Start a forwarder; it is stopped and joined before descriptors are closed."""
        stats = np.zeros(8, np.int64)

        def work() -> None:
            with contextlib.suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PRIORITY)
            job(self._stop, stats)

        thread = threading.Thread(target=work, name="port", daemon=True)
        thread.start()
        self.rig.threads.append(thread)
        self.rig.stats.append(stats)

    def finish(self) -> None:
        """Stop the forwarders."""
        self._stop[0] = 1
        for thread in self.rig.threads:
            thread.join(10)


@contextlib.contextmanager
def cores_awake() -> Iterator[None]:
    """Keep all cores from halting inside the block: this process requests a wake-up latency of 0 us.

    Raises:
        MachineError: the kernel has no PM QoS device.
    """
    try:
        fd = os.open("/dev/cpu_dma_latency", os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise MachineError(f"no PM QoS: {error.strerror}", where="/dev/cpu_dma_latency") from error
    try:
        os.write(fd, bytes(4))
        yield
    finally:
        os.close(fd)  # ends the request


def index_of(route: IPRoute, name: str) -> int:
    """The index of a device."""
    return int(route.link_lookup(ifname=name)[0])


def write_sysfs(pid: int, path: str, value: str) -> None:
    """Write /sys/PATH in the network namespace of `pid`, with a sysfs mounted only for this process.

    Raises:
        MachineError: the kernel has no such setting, or rejects the value.
    """
    script = 'mount -t sysfs none /sys && printf %s "$1" > "/sys/$0"'
    done = subprocess.run(
        ["nsenter", f"--net=/proc/{pid}/ns/net", "unshare", "--mount", "sh", "-c", script, path, value],
        capture_output=True, text=True, timeout=10, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise MachineError(f"cannot set {path}: {done.stderr.strip()}", where=path)
