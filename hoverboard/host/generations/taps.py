"""Checks the descriptors of virtual NICs and uplinks before a dataplane takes them."""

from __future__ import annotations

import select

from hoverboard.contract.errors import InputError


def check_tap(owner: str, fd: int | None) -> None:
    """Check that engines can wait for packets at a descriptor.

    Args:
        owner: "the uplink", or "VM blue-1".
        fd: the descriptor; None if the request has no descriptor.

    Raises:
        InputError: there is no descriptor, or it cannot be polled.
    """
    step = "send the descriptor of a tap device with the request"
    if fd is None:
        raise InputError(f"{owner}: the request has no descriptor", next_step=step)
    with select.epoll() as epoll:
        try:
            epoll.register(fd, 0)
        except PermissionError:
            raise InputError(f"{owner}: the descriptor cannot be polled, so it is no tap", next_step=step) from None
