"""Network namespaces without a testbed: the thread that holds one, and the two that a bare pair is made of."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.tools import bare_namespaces
from experiments.tools.bare_namespaces import Namespace, bare_pair
from hoverboard.contract.encapsulation import GUEST_MTU
from hoverboard.contract.errors import MachineError
from topologies.namespaces import kernel_calls


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(thread, flags) of each namespace that was asked for; all are given."""
    found: list[tuple[int, int]] = []
    unshare = lambda flags: found.append((threading.get_native_id(), flags))  # noqa: E731
    monkeypatch.setattr(kernel_calls, "unshare", unshare)
    return found


def test_a_namespace_is_that_of_a_thread_that_lives_until_it_is_closed(asked: list[tuple[int, int]]) -> None:
    made = Namespace("here")
    assert (made.name, asked) == ("here", [(made.pid, 0x40000000)])
    assert "namespace-here" in {thread.name for thread in threading.enumerate()}
    made.close()
    assert "namespace-here" not in {thread.name for thread in threading.enumerate()}


def test_without_the_privilege_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unshare(_flags: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(kernel_calls, "unshare", unshare)
    with pytest.raises(MachineError, match="network namespace: Operation not permitted"):
        Namespace("here")
    # Its thread ends by itself.
    for thread in threading.enumerate():
        if thread.name == "namespace-here":
            thread.join(20)
            assert not thread.is_alive()


class Netlink:
    """What was set in which namespace."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.opened: list[str] = []
        monkeypatch.setattr(bare_namespaces, "netlink", self._netlink)
        monkeypatch.setattr(bare_namespaces, "disable_ipv6", lambda: self.done.append(("no IPv6",)))
        close = lambda fd: self.done.append(("close", fd))  # noqa: E731
        flags = {"O_RDONLY": os.O_RDONLY, "O_CLOEXEC": os.O_CLOEXEC}
        monkeypatch.setattr(bare_namespaces, "os", SimpleNamespace(open=self._open, close=close, **flags))

    def _open(self, path: str, flags: int) -> int:
        self.opened.append(path)
        return 77

    @contextlib.contextmanager
    def _netlink(self, pid: int) -> Iterator[Any]:
        def noted(kind: str) -> Any:
            return lambda *verb, **settings: self.done.append((pid, kind, *verb, settings))

        yield SimpleNamespace(link=noted("link"), addr=noted("addr"), link_lookup=lambda ifname: [len(ifname) + 1])


def test_a_bare_pair_is_a_veth_pair_with_an_address_at_each_end(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[int, int]]
) -> None:
    netlink = Netlink(monkeypatch)
    with bare_pair() as (here, there, address):
        assert (here.name, there.name, address) == ("bare-here", "bare-there", "10.0.0.3")
        assert here.pid != there.pid
    assert len(asked) == 2
    assert netlink.opened == [f"/proc/{there.pid}/ns/net"]
    peer = {"ifname": "eth0", "net_ns_fd": 77, "mtu": GUEST_MTU}
    assert netlink.done == [
        (here.pid, "link", "add", {"ifname": "eth0", "kind": "veth", "mtu": GUEST_MTU, "peer": peer}),
        ("close", 77),
        *(
            each
            for pid, ip in ((here.pid, "10.0.0.2"), (there.pid, "10.0.0.3"))
            for each in (
                ("no IPv6",),
                (pid, "link", "set", {"index": 1, "state": "up"}),
                (pid, "link", "set", {"index": 5, "state": "up"}),
                (pid, "addr", "add", {"index": 5, "address": ip, "prefixlen": 24}),
            )
        ),
    ]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("namespace-bare")]


@pytest.mark.usefixtures("asked")
def test_both_namespaces_end_when_the_pair_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    netlink = Netlink(monkeypatch)

    @contextlib.contextmanager
    def refused(pid: int) -> Iterator[Any]:
        def link(*verb: str, **settings: Any) -> None:
            raise OSError("no veth")

        yield SimpleNamespace(link=link)

    monkeypatch.setattr(bare_namespaces, "netlink", refused)
    with pytest.raises(OSError, match="no veth"), bare_pair():
        pass
    assert netlink.done == [("close", 77)]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("namespace-bare")]
