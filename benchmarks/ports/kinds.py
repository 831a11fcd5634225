"""The contestants: each kind of port, as the NIC of a VM or the uplink of a node."""

from __future__ import annotations

import contextlib
import functools
import os
import select
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.ports import packet_socket, tap, uring, xdp
from benchmarks.ports.libc import Words
from benchmarks.ports.rig import DEFAULT_SPIN, Builder, Job, Rig, index_of
from hoverboard.contract.encapsulation import FABRIC_MTU, GUEST_MTU
from topologies.emulation.devices import entered, netlink
from topologies.emulation.offloads import disable_offloads

_UMEM_FRAMES = 8192
# Linear part of an outer packet: its headers and the VM's.
HEADER_LENGTH = 160

Kind = Callable[[], contextlib.AbstractContextManager[Rig]]
_Build = Callable[[Builder], None]


@contextlib.contextmanager
def _up(build: _Build, *, awake: bool = False) -> Iterator[Rig]:
    with contextlib.ExitStack() as stack:
        builder = Builder(stack)
        builder.rig.awake = awake
        build(builder)
        stack.callback(builder.finish)
        yield builder.rig


def _forward(
    ports: list[tuple[int, int, int]], *, spin_ns: int = DEFAULT_SPIN, batch: int = tap.BATCH,
    batch_bytes: int = tap.BATCH_BYTES, header_length: int = 0, epoll: int = -1,
) -> Job:  # fmt: skip
    """A job that runs tap.forward over `ports`: (descriptor, number of the peer in this list, 1 for an uplink)."""
    pollfds = np.array([tap.pollfd(fd) for fd, _, _ in ports], np.int64)
    peers = np.array([peer for _, peer, _ in ports], np.int64)
    uplinks = np.array([uplink for _, _, uplink in ports], np.int64)

    def job(stop: Words, stats: Words) -> None:
        tap.forward(
            pollfds, peers, uplinks, epoll, tap.buffers(), batch, batch_bytes, spin_ns, header_length, stop, stats
        )

    return job


def kernel(builder: Builder) -> None:
    """Build the peer: veth pairs and a bridge, offloads on."""
    host = builder.bridge("port-host", GUEST_MTU)
    for number, guest in enumerate(builder.guests):
        builder.veth(guest, "eth0", host, f"nic{number}", GUEST_MTU)
        builder.plug(host, f"nic{number}", GUEST_MTU)
        builder.configure(number)


def plain_tap(
    builder: Builder, *, spin_ns: int = DEFAULT_SPIN, batch: int = tap.BATCH,
    batch_bytes: int = tap.BATCH_BYTES, flags: int = 0,
    sndbuf: int | None = None, queue_length: int | None = None, rps: str | None = None, idle: int = 0,
    epoll: bool = False,
) -> None:  # fmt: skip
    """Build two taps, one thread, read() and write(); with `idle` further taps that are not used."""
    fds = [
        builder.guest_tap(number, flags=flags, sndbuf=sndbuf, queue_length=queue_length, rps=rps)[0]
        for number in (0, 1)
    ]
    ports = [(fds[0], 1, 0), (fds[1], 0, 0)]
    with entered(builder.namespace("port-idle").pid):
        ports += [(builder.close_at_end(tap.open_queue(f"idle{number}")), 0, 0) for number in range(idle)]
    waiter = -1
    if epoll:
        watched = select.epoll()
        waiter = builder.close_at_end(os.dup(watched.fileno()))
        for fd, _, _ in ports:
            watched.register(fd, select.EPOLLIN)
        watched.close()
    builder.run(_forward(ports, spin_ns=spin_ns, batch=batch, batch_bytes=batch_bytes, epoll=waiter))


def queues(builder: Builder, *, threads: int) -> None:
    """Build two taps with two queues each; queue i to queue i, in one thread or one thread a queue."""
    first, second = (builder.guest_tap(number, flags=tap.IFF_MULTI_QUEUE, queues=2) for number in (0, 1))
    if threads == 1:
        ports = [(first[0], 2, 0), (first[1], 3, 0), (second[0], 0, 0), (second[1], 1, 0)]
        builder.run(_forward(ports))
    else:
        for one, other in zip(first, second, strict=True):
            builder.run(_forward([(one, 1, 0), (other, 0, 0)]))


def directions(builder: Builder) -> None:
    """Build two taps, with a thread for each direction: separate egress and ingress engines."""
    (first,), (second,) = (builder.guest_tap(number) for number in (0, 1))
    for one, other in ((first, second), (second, first)):
        builder.run(_one_way(one, other))


def _one_way(source: int, target: int) -> Job:
    pollfds = np.array([tap.pollfd(source), target & 0xFFFFFFFF], np.int64)  # the target is only written to
    peers, uplinks = np.array([1, 0], np.int64), np.zeros(2, np.int64)

    def job(stop: Words, stats: Words) -> None:
        tap.forward(
            pollfds, peers, uplinks, -1, tap.buffers(), tap.BATCH, tap.BATCH_BYTES, DEFAULT_SPIN, 0, stop, stats
        )

    return job


def packet_sockets(builder: Builder, *, batched: bool, bypass: bool = True) -> None:
    """Build AF_PACKET on veth, virtio-net headers; recvmmsg and sendmmsg, or read() and write() as on a tap."""
    host = builder.namespace("port-host")
    fds = []
    for number, guest in enumerate(builder.guests):
        builder.veth(guest, "eth0", host, f"nic{number}", GUEST_MTU)
        builder.configure(number)
        with entered(host.pid):
            fds.append(builder.close_at_end(packet_socket.open_socket(f"nic{number}", bypass=bypass).detach()))
    if not batched:
        builder.run(_forward([(fds[0], 1, 0), (fds[1], 0, 0)]))
        return
    pollfds = np.array([tap.pollfd(fd) for fd in fds], np.int64)

    def job(stop: Words, stats: Words) -> None:
        buffer = tap.buffers()
        inward, kept, outward, vectors = packet_socket.vectors_of(buffer, tap.BATCH, tap.SLOT)
        packet_socket.forward(pollfds, inward, outward, vectors, DEFAULT_SPIN, stop, stats)
        del kept

    builder.run(job)


def xdp_sockets(builder: Builder, *, batch: int = 64) -> None:
    """Build AF_XDP on veth, native mode; the VM sends MTU-sized frames with complete checksums."""
    host = builder.namespace("port-host")
    memory = builder.keep_alive(np.zeros((_UMEM_FRAMES + 1) * xdp.FRAME, np.uint8))
    start = -memory.ctypes.data % xdp.FRAME
    umem = memory[start : start + _UMEM_FRAMES * xdp.FRAME]
    sides: list[xdp.Side] = []
    fds: list[int] = []
    for number, guest in enumerate(builder.guests):
        builder.veth(guest, "eth0", host, f"nic{number}", GUEST_MTU)
        builder.configure(number, segments=False)
        disable_offloads(guest.pid, "eth0")
        with entered(host.pid):
            attached = xdp.open_socket(f"nic{number}", umem, fds[0] if fds else None)
        for fd in attached.fds:
            builder.close_at_end(fd)
        fds.append(attached.socket)
        sides.append(attached.side)
        xdp.stock(attached.side, number * xdp.RING)
    pollfds = np.array([tap.pollfd(fd) for fd in fds], np.int64)

    def job(stop: Words, stats: Words) -> None:
        xdp.forward(pollfds, sides[0], sides[1], batch, DEFAULT_SPIN, stop, stats)

    builder.run(job)


def uring_taps(builder: Builder) -> None:
    """Build two taps behind one io_uring."""
    fds = [builder.guest_tap(number)[0] for number in (0, 1)]
    for fd in fds:
        os.set_blocking(fd, True)
    taps = np.array(fds, np.int64)

    def job(stop: Words, stats: Words) -> None:
        ring, queue = uring.open_queue()
        argument, spec = uring.timeout_argument(100)
        uring.forward(ring, queue, taps, argument, stop, stats)
        uring.close(ring)
        del spec

    builder.run(job)


def two_hosts(builder: Builder, *, uplink: str, header_length: int = 0, spin_ns: int = DEFAULT_SPIN) -> None:
    """Build two forwarders, VM to uplink each, and the fabric's bridge between their uplinks."""
    fabric = builder.bridge("port-fabric", FABRIC_MTU)
    hosts = [builder.namespace(f"port-h{number}") for number in (1, 2)]
    for number, host in enumerate(hosts):
        (guest,) = builder.guest_tap(number)
        if uplink == "tap":
            with entered(fabric.pid):
                fd = builder.close_at_end(tap.open_queue(f"to-h{number}", offloads=0))
        else:
            builder.veth(host, "uplink", fabric, f"to-h{number}", FABRIC_MTU)
            with entered(host.pid):
                fd = builder.close_at_end(packet_socket.open_socket("uplink").detach())
        builder.plug(fabric, f"to-h{number}", FABRIC_MTU)
        builder.run(_forward([(guest, 1, 0), (fd, 0, 1)], header_length=header_length, spin_ns=spin_ns))


def kernel_overlay(builder: Builder) -> None:
    """Build the peer for two hosts: VXLAN over the fabric's bridge."""
    fabric = builder.bridge("port-fabric", FABRIC_MTU)
    for number, guest in enumerate(builder.guests):
        host = builder.bridge(f"port-h{number + 1}", GUEST_MTU)
        builder.veth(host, "uplink", fabric, f"to-h{number}", GUEST_MTU + 50)
        builder.plug(fabric, f"to-h{number}", GUEST_MTU + 50)
        builder.veth(guest, "eth0", host, "nic", GUEST_MTU)
        with netlink(host.pid) as route:
            link = index_of(route, "uplink")
            route.addr("add", index=link, address=f"192.0.2.{number + 1}", prefixlen=24)
            route.link(
                "add", ifname="vxlan0", kind="vxlan", vxlan_id=7, vxlan_port=4789, vxlan_link=link,
                vxlan_local=f"192.0.2.{number + 1}", vxlan_group=f"192.0.2.{2 - number}",
            )  # fmt: skip
        builder.plug(host, "vxlan0", GUEST_MTU)
        builder.plug(host, "nic", GUEST_MTU)
        builder.configure(number)


def _kind(build: Callable[..., None], *, awake: bool = False, **settings: object) -> Kind:
    return functools.partial(_up, functools.partial(build, **settings), awake=awake)


# By section of the report: the peer comes first in each.
SECTIONS: dict[str, dict[str, Kind]] = {
    "virtual NIC": {
        "kernel: veth, bridge": _kind(kernel),
        "tap": _kind(plain_tap),
        "tap, 2 queues, 1 thread": _kind(queues, threads=1),
        "tap, 2 queues, 2 threads": _kind(queues, threads=2),
        "tap, a thread each way": _kind(directions),
        "tap, io_uring": _kind(uring_taps),
        "AF_PACKET, mmsg": _kind(packet_sockets, batched=True),
        "AF_PACKET, read and write": _kind(packet_sockets, batched=False),
        "AF_XDP": _kind(xdp_sockets),
    },
    "uplink": {
        "kernel: VXLAN, bridge": _kind(kernel_overlay),
        "tap": _kind(two_hosts, uplink="tap"),
        "tap, hdr_len set": _kind(two_hosts, uplink="tap", header_length=HEADER_LENGTH),
        "AF_PACKET": _kind(two_hosts, uplink="packet"),
        "AF_PACKET, hdr_len set": _kind(two_hosts, uplink="packet", header_length=HEADER_LENGTH),
    },
    "sleep": {
        "kernel: veth, bridge": _kind(kernel),
        **{
            f"tap, looks for {spin} us" if spin else "tap, sleeps at once": _kind(plain_tap, spin_ns=spin * 1000)
            for spin in (0, 5, 10, 20, 50, 100, 200)
        },
        "tap, up to 50 us if it pays": _kind(plain_tap, spin_ns=-50_000),
        "tap, up to 100 us if it pays": _kind(plain_tap, spin_ns=-100_000),
    },
    "sleep, two hosts": {
        "kernel: VXLAN, bridge": _kind(kernel_overlay),
        **{
            f"tap, looks for {spin} us" if spin else "tap, sleeps at once": _kind(
                two_hosts, uplink="tap", header_length=HEADER_LENGTH, spin_ns=spin * 1000
            )
            for spin in (0, 10, 50, 100, 200)
        },
        "tap, up to 50 us if it pays": _kind(two_hosts, uplink="tap", header_length=HEADER_LENGTH, spin_ns=-50_000),
    },
    "halting": {
        "kernel: veth, bridge": _kind(kernel),
        "kernel, cores awake": _kind(kernel, awake=True),
        "tap": _kind(plain_tap),
        "tap, cores awake": _kind(plain_tap, awake=True),
        "tap, sleeps at once, cores awake": _kind(plain_tap, awake=True, spin_ns=0),
        "two hosts: kernel, VXLAN": _kind(kernel_overlay),
        "two hosts: kernel, cores awake": _kind(kernel_overlay, awake=True),
        "two hosts: tap": _kind(two_hosts, uplink="tap", header_length=HEADER_LENGTH),
        "two hosts: tap, cores awake": _kind(two_hosts, uplink="tap", header_length=HEADER_LENGTH, awake=True),
    },
    "waiting": {
        "tap, poll": _kind(plain_tap),
        "tap, epoll": _kind(plain_tap, epoll=True),
        "tap, poll, 62 idle ports": _kind(plain_tap, idle=62),
        "tap, epoll, 62 idle ports": _kind(plain_tap, idle=62, epoll=True),
    },
    "settings": {
        "tap": _kind(plain_tap),
        "tap, batch 1": _kind(plain_tap, batch=1),
        "tap, 256 KB a batch": _kind(plain_tap, batch_bytes=1 << 18),
        "tap, IFF_NAPI": _kind(plain_tap, flags=tap.IFF_NAPI),
        "tap, IFF_NAPI_FRAGS": _kind(plain_tap, flags=tap.IFF_NAPI | tap.IFF_NAPI_FRAGS),
        "tap, sndbuf 1 MB": _kind(plain_tap, sndbuf=1 << 20),
        "tap, txqueuelen 100": _kind(plain_tap, queue_length=100),
        "tap, txqueuelen 10000": _kind(plain_tap, queue_length=10_000),
        "tap, RPS both cores": _kind(plain_tap, rps="3"),
    },
}
