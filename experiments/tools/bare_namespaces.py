"""Two network namespaces joined by a bare veth pair, without a testbed: the limit of the machine's own TCP.

A namespace has no process and no name outside. It lives as long as the thread that made it. So a killed
measurement leaves no namespace.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from hoverboard.contract.encapsulation import GUEST_MTU
from hoverboard.contract.errors import MachineError
from topologies.emulation.devices import disable_ipv6, netlink
from topologies.namespaces import kernel_calls


class Namespace:
    """A network namespace, and a `ToolPlace` for measuring tools. Its pid is that of its thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = 0
        self._error: OSError | None = None
        self._made, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._live, name=f"namespace-{name}", daemon=True)
        self._thread.start()
        self._made.wait()
        if self._error is not None:
            raise MachineError(
                f"cannot make a network namespace: {self._error.strerror}",
                next_step="run as root, outside of a container",
            ) from self._error

    def _live(self) -> None:
        try:
            kernel_calls.unshare(kernel_calls.CLONE_NEWNET)
        except OSError as error:
            self._error = error
        self.pid = threading.get_native_id()
        self._made.set()
        if not self._error:
            self._over.wait()

    def close(self) -> None:
        """Release the namespace. The kernel removes it, with its devices, when its last process has ended."""
        self._over.set()
        self._thread.join()


@contextlib.contextmanager
def bare_pair() -> Iterator[tuple[Namespace, Namespace, str]]:
    """Two namespaces with a veth pair between them, all offloads on, and the address of the second one.

    Raises:
        MachineError: the caller is not root, or the kernel has no namespaces.
    """
    with contextlib.ExitStack() as stack:
        here, there = (stack.enter_context(contextlib.closing(Namespace(name))) for name in ("bare-here", "bare-there"))
        with netlink(here.pid) as route:
            target = os.open(f"/proc/{there.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                peer = {"ifname": "eth0", "net_ns_fd": target, "mtu": GUEST_MTU}
                route.link("add", ifname="eth0", kind="veth", mtu=GUEST_MTU, peer=peer)
            finally:
                os.close(target)
        for number, one in enumerate((here, there), 1):
            with netlink(one.pid) as route:
                disable_ipv6()
                index = int(route.link_lookup(ifname="eth0")[0])
                route.link("set", index=1, state="up")
                route.link("set", index=index, state="up")
                route.addr("add", index=index, address=f"10.0.0.{number + 1}", prefixlen=24)
        yield here, there, "10.0.0.3"
