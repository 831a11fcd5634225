"""Who has the terminal when a command with a group of its own stops, goes on and ends: against a made-up kernel."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from topologies.rootless.terminal import Terminal

US, COMMAND, SHELL = 100, 200, 50


class Kernel:
    """A terminal with a foreground group; `stopped` is what the user's shell does while we are stopped."""

    def __init__(self, foreground: int | None, *stopped: Callable[[], object]) -> None:
        self.foreground = foreground
        self.alive = {US, COMMAND, SHELL}
        self.signals: list[tuple[str, int]] = []
        self._stopped = list(stopped)

    def tcgetpgrp(self, fd: int) -> int:
        if self.foreground is None:
            raise OSError(25, "no terminal")
        return self.foreground

    def tcsetpgrp(self, fd: int, group: int) -> None:
        assert signal.SIGTTOU in signal.pthread_sigmask(signal.SIG_BLOCK, []), "this would stop us in the background"
        self.foreground = group

    def killpg(self, group: int, number: int) -> None:
        assert group == 0, "our own"
        self._stop("group", number)

    def kill(self, pid: int, number: int) -> None:
        if pid == os.getpid():
            self._stop("self", number)
        elif pid not in self.alive:
            raise ProcessLookupError

    def _stop(self, whom: str, number: int) -> None:
        self.signals.append((whom, number))
        if self._stopped:
            self._stopped.pop(0)()

    def gives(self, group: int) -> Callable[[], None]:
        """The shell gives the terminal to a group."""

        def give() -> None:
            self.foreground = group

        return give


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Kernel]:
    """Installs a kernel for the module."""

    def install(foreground: int | None) -> Kernel:
        made = Kernel(foreground)
        for name in ("tcgetpgrp", "tcsetpgrp", "killpg", "kill"):
            monkeypatch.setattr(os, name, getattr(made, name))
        monkeypatch.setattr(os, "getpgrp", lambda: US)
        return made

    return install


def stop(kernel: Kernel, *stopped: Callable[[], object]) -> None:
    kernel._stopped = list(stopped)
    Terminal().stop()
    assert not kernel._stopped, "we went on before the shell said so"


def test_in_the_foreground_the_command_gets_its_terminal_again(kernel: Callable[..., Kernel]) -> None:
    made = kernel(COMMAND)
    stop(made, made.gives(US))  # ^Z; the shell takes the terminal; fg: it gives it to us
    assert made.foreground == COMMAND
    assert made.signals == [("group", signal.SIGTSTP)]


def test_in_the_background_we_stop_once_more(kernel: Callable[..., Kernel]) -> None:
    made = kernel(COMMAND)
    stop(made, made.gives(SHELL), made.gives(SHELL), made.gives(US))  # bg, bg, fg
    assert made.foreground == COMMAND
    assert made.signals == [("group", signal.SIGTSTP), ("self", signal.SIGSTOP), ("self", signal.SIGSTOP)]


def test_where_no_shell_continues_us_the_command_goes_on(kernel: Callable[..., Kernel]) -> None:
    made = kernel(COMMAND)
    stop(made)  # the kernel drops the signal: the group is an orphan
    assert (made.foreground, len(made.signals)) == (COMMAND, 1)


@pytest.mark.parametrize("foreground", [US, None])
def test_a_command_without_the_terminal_only_stops(kernel: Callable[..., Kernel], foreground: int | None) -> None:
    made = kernel(foreground)
    stop(made)
    assert (made.foreground, made.signals) == (foreground, [("group", signal.SIGTSTP)])


@pytest.mark.parametrize(
    ("foreground", "alive", "after"),
    [
        (COMMAND, {US, SHELL}, US),  # its group is dead: nobody else could give it back
        (COMMAND, {US, SHELL, COMMAND}, COMMAND),
        (SHELL, {US, SHELL}, SHELL),  # we are in the background
        (US, {US}, US),
        (None, {US}, None),
    ],
)
def test_at_the_end_we_take_back_what_a_dead_command_had(
    kernel: Callable[..., Kernel], foreground: int | None, alive: set[int], after: int | None
) -> None:
    made = kernel(foreground)
    made.alive = alive
    Terminal().take_back()
    assert made.foreground == after
    assert signal.SIGTTOU not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
