"""The way into the namespaces of an ordinary user's run, as far as it can be tried without making any."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from hoverboard import mapped_users
from hoverboard.contract.errors import MachineError
from topologies.rootless import first_process, namespaces, system_calls
from topologies.rootless.namespaces import FirstProcess


def test_a_first_process_is_read_as_it_was_written() -> None:
    first = FirstProcess(17, 4711, 4026531836)
    assert FirstProcess.parse(str(first)) == first
    assert [FirstProcess.parse(text) for text in ("", "1:2", "1:2:3:4", "a:b:c", "None")] == [None] * 5


def test_its_number_is_valid_in_one_pid_namespace() -> None:
    assert FirstProcess(1, 1, namespaces.own_pid_namespace()).visible
    assert not FirstProcess(1, 1, namespaces.own_pid_namespace() + 1).visible


@pytest.mark.parametrize("inside", [True, False])
def test_the_environment_alone_does_not_tell_that_we_are_inside(inside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    first = FirstProcess(17, 4711, namespaces.own_pid_namespace() + 1)
    monkeypatch.setenv(namespaces.VARIABLE, str(first))
    monkeypatch.setattr(mapped_users, "only_one", lambda: inside)
    assert namespaces.entered() == (first if inside else None)


@pytest.mark.parametrize(("mode", "line"), [(0o600, "chmod 0666 /dev/net/tun"), (None, "modprobe tun")])
def test_the_administrators_line_for_a_tap(
    mode: int | None, line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tun = tmp_path / "tun"
    if mode is not None:
        tun.touch()
    monkeypatch.setattr(namespaces, "TUN", tun)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(MachineError, match=str(tun)) as caught:
        namespaces.check_machine()
    assert line in caught.value.next_step


@pytest.mark.parametrize("limit", [resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC])
def test_a_limit_that_is_too_low_is_named(limit: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(namespaces, "TUN", tmp_path)
    monkeypatch.setattr(resource, "getrlimit", lambda one: (64, 64) if one == limit else (-1, -1))
    with pytest.raises(MachineError, match="may have 64"):
        namespaces.check_machine()


def test_a_soft_limit_is_raised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    raised: dict[int, tuple[int, int]] = {}
    monkeypatch.setattr(namespaces, "TUN", tmp_path)
    monkeypatch.setattr(resource, "getrlimit", lambda one: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", raised.__setitem__)
    namespaces.check_machine()
    assert raised == {resource.RLIMIT_NOFILE: (4096, 4096), resource.RLIMIT_NPROC: (4096, 4096)}


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "user.max_user_namespaces"), (errno.EPERM, "may not make"), (errno.EIO, "cannot be made")],
)
def test_each_refusal_of_the_kernel_has_its_words(number: int, words: str) -> None:
    assert words in first_process._reason(OSError(number, os.strerror(number), "unshare"))
    assert "->" in first_process._reason(OSError(number, os.strerror(number), "unshare"))


def test_an_exit_code_is_that_of_a_shell() -> None:
    assert [system_calls.exit_code(status) for status in (0, 7 << 8, 15, 9)] == [0, 7, 143, 137]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_root_is_refused() -> None:
    command = [sys.executable, "-I", "-S", first_process.__file__, "--state", "/tmp", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == system_calls.FAILED
    assert "--rootless" in done.stderr


def test_both_programs_need_the_standard_library_alone() -> None:
    for module in (first_process, namespaces.join):
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(module.__file__), "--help"], capture_output=True, text=True, check=False
        )
        assert "ModuleNotFoundError" not in done.stderr


def test_a_process_that_has_the_pid_of_a_first_process_now_is_not_entered() -> None:
    first = f"{os.getpid()}:{system_calls.start_time(os.getpid()) + 1}:{namespaces.own_pid_namespace()}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(namespaces.join.__file__), first, "echo", "inside"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (system_calls.FAILED, "")
    assert "its first process has ended" in done.stderr
