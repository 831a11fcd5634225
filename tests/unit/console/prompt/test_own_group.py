"""When a prompt makes a process group of its own: at a terminal, in a group without a number."""

from __future__ import annotations

import os
import sys
import termios
from types import SimpleNamespace
from typing import Any

import pytest

from console.prompt import own_group


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the kernel, in its order; the group is one of the machine's, without a number here."""
    found: list[str] = []
    group = SimpleNamespace(number=0)

    def setpgid(pid: int, number: int) -> None:
        assert (pid, number) == (0, 0)
        found.append("setpgid")
        group.number = 7

    monkeypatch.setattr(os, "getpgrp", lambda: group.number)
    monkeypatch.setattr(os, "setpgid", setpgid)
    monkeypatch.setattr(os, "tcsetpgrp", lambda fd, number: found.append(f"tcsetpgrp {number}"))
    monkeypatch.setattr(termios, "tcgetattr", lambda fd: [])
    monkeypatch.setattr(termios, "tcsetattr", lambda fd, when, attributes: found.append("tcsetattr"))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True, fileno=lambda: 0))
    return found


def test_the_group_comes_once_we_are_in_the_foreground(calls: list[str]) -> None:
    own_group.take_terminal()
    assert calls == ["tcsetattr", "setpgid", "tcsetpgrp 7"]
    own_group.take_terminal()
    assert len(calls) == 3, "it has a number now"


def test_a_script_stays_in_its_group(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    own_group.take_terminal()
    assert calls == []


def test_a_terminal_of_others_is_left_alone(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise termios.error(5, "Input/output error")

    monkeypatch.setattr(termios, "tcsetattr", refuse)
    own_group.take_terminal()
    assert calls == []
