"""The kernel's calls for namespaces and mounts: what it rejects becomes an error with its code, and nothing changes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from topologies.namespaces import kernel_calls


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: kernel_calls.setns(-1, kernel_calls.CLONE_NEWNET), errno.EBADF),
        (lambda: kernel_calls.unshare(1), errno.EINVAL),
        (lambda: kernel_calls.mount("/", Path("/no/such/place"), kernel_calls.MS_BIND), errno.ENOENT),
    ],
)
def test_what_the_kernel_rejects_is_an_error_with_its_code(call: Callable[[], None], code: int) -> None:
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        call()
    assert caught.value.errno == code


def test_a_descriptor_of_another_kind_is_no_namespace() -> None:
    home = os.open("/proc/thread-self/ns/uts", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            kernel_calls.setns(home, kernel_calls.CLONE_NEWNET)
    finally:
        os.close(home)


@pytest.mark.skipif(not hasattr(os, "CLONE_NEWNET"), reason="os has the bits from Python 3.12 on")
@pytest.mark.parametrize("name", ["CLONE_FS", "CLONE_NEWNS", "CLONE_NEWUTS", "CLONE_NEWNET"])
def test_the_bits_are_those_of_python(name: str) -> None:
    assert getattr(kernel_calls, name) == getattr(os, name)
