"""`xterm` and `x`: where the display is, whose key it has, and what is told when there is none."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from hoverboard.contract.errors import InputError, MachineError
from tests.unit.topologies.mininet_verbs.wirings import WIRING
from topologies.mininet_verbs import terminals

NODE = WIRING["nodes"][0]


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs, which is the whole PATH; a display."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("DISPLAY", ":77")
    return tmp_path


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("display", [None, ""])
def test_without_a_display_it_is_said(display: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    if display is not None:
        monkeypatch.setenv("DISPLAY", display)
    for start in (lambda: terminals.open_terminal(NODE, "r"), lambda: terminals.run_x11(NODE, ["xeyes"])):
        with pytest.raises(MachineError, match="there is no DISPLAY"):
            start()


def test_after_sudo_the_key_is_that_of_who_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    person = pwd.struct_passwd(("ann", "x", 1000, 1000, "", str(tmp_path), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: person)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.setenv(name, "1000")
    given = {"DISPLAY": ":0"}
    assert terminals.display_environment(given) == given
    (tmp_path / ".Xauthority").touch()
    assert terminals.display_environment(given) == {**given, "XAUTHORITY": f"{tmp_path}/.Xauthority"}
    assert terminals.display_environment({**given, "XAUTHORITY": "/own"})["XAUTHORITY"] == "/own"


@pytest.mark.parametrize("uid", ["²", "4294967295", "4294967296", "99999999999999999999"])
def test_a_user_id_of_sudo_that_is_none_gives_no_key(uid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_UID", uid)
    monkeypatch.setenv("SUDO_GID", "1000")
    assert terminals.display_environment({"DISPLAY": ":0", "SUDO_UID": uid}) == {"DISPLAY": ":0", "SUDO_UID": uid}


def test_the_terminal_runs_outside_and_its_shell_inside(tools: Path) -> None:
    program(tools, "xterm", f'echo "$@" >{tools}/seen; exec sleep 100')
    process = terminals.open_terminal(NODE, "r")
    try:
        assert (tools / "seen").read_text() == (
            "-title blue-1 (r) -e nsenter --target 11 --uts mnexec -a 11 env PS1=blue-1#  bash --norc\n"
        )
    finally:
        process.kill()
        process.wait()


def test_a_terminal_that_ends_at_once_says_why(tools: Path) -> None:
    program(tools, "xterm", "echo 'Xt error: cannot open display: :77' >&2; exit 1")
    with pytest.raises(MachineError, match="xterm ended: Xt error: cannot open display: :77"):
        terminals.open_terminal(NODE, "r")


def test_a_terminal_that_is_not_installed(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mnexec", "nsenter"):
        program(tools, name, "true")
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(MachineError, match="gnome-terminal is not installed\n  -> apt-get install gnome-terminal"):
        terminals.open_terminal(NODE, "r", "gterm")


def test_a_display_over_tcp_cannot_be_reached_from_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", "localhost:10.0")
    with pytest.raises(InputError, match="reached over TCP, and blue-1 has no way there"):
        terminals.run_x11(NODE, ["xeyes"])
