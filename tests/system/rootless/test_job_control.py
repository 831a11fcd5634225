"""Whose the terminal is: of the prompt, of a shell in a node, of the user's shell; by keys at a real terminal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.ordinary_user import OrdinaryUser
from tests.system.rootless.user_run import UP_SECONDS, nothing_is_left, up
from tests.system.rootless.user_shell import Shell

OVS = ("--dataplane", "ovs")
PROMPT = "hoverboard(mine)> "
CTRL_Z, CTRL_C = "\x1a", "\x03"

pytestmark = pytest.mark.timeout(400)


def command(user: OrdinaryUser, *words: str) -> str:
    return " ".join(user.cli(*words))


def bash_and_back(at: Shell, node: str) -> None:
    """A shell in a node takes the terminal, and gives it back."""
    at.type(f"{node} bash --norc\n")
    at.read_until("# ")
    at.type("echo in''side\n")
    at.read_until("inside")
    at.type("exit\n")
    at.read_until(PROMPT)
    at.type("links\n")
    at.read_until("fab")
    at.read_until(PROMPT)


def stop_and_go_on(at: Shell) -> None:
    """The user's shell gets the terminal by Ctrl-Z; the prompt gets it by `fg` alone."""
    at.type(CTRL_Z)
    at.read_until("Stopped")
    at.type("echo sti''ll here\n")
    at.read_until("still here")
    at.type("bg\n")
    at.read_until("Stopped")
    at.type("echo sti''ll here\n")
    at.read_until("still here")
    at.type("fg\n")
    at.read_until("console.cli")
    at.type("nodes\n")
    at.read_until("blue-4")


def test_the_prompt_of_a_run_in_the_foreground(user: OrdinaryUser, shell: Callable[[], Shell]) -> None:
    at = shell()
    at.type("set -b\n")  # bash tells of a job that stops at once, and not before the next line
    at.type(f"{command(user, 'up', 'two-hosts', '--run', 'mine', *OVS)}\n")
    at.read_until(PROMPT, UP_SECONDS)
    bash_and_back(at, "blue-1")
    stop_and_go_on(at)
    at.read_until(PROMPT)
    # A command of the prompt stops with it, and goes on with it.
    at.type("blue-1 sh -c 'echo sta''rts; read line; echo go''t $line'\n")
    at.read_until("starts")
    at.type(CTRL_Z)
    at.read_until("Stopped")
    at.type("fg\n")
    at.read_until("console.cli")
    at.type("this\n")
    at.read_until("got this")
    at.type("exit\n")
    at.read_until("taking 'mine' down")
    at.type("echo co''de $?\n")
    at.read_until("code 0")
    at.type("exit\n")
    nothing_is_left(user)


def test_a_prompt_in_the_background_waits_for_its_turn(user: OrdinaryUser, shell: Callable[[], Shell]) -> None:
    up(user, *OVS)
    at = shell()
    at.type("set -b\n")  # bash tells of a job that stops at once, and not before the next line
    at.type(f"{command(user, 'prompt')} &\n")
    at.read_until("Stopped")
    at.type("echo sti''ll here\n")
    at.read_until("still here")
    at.type("fg\n")
    at.read_until(PROMPT)
    bash_and_back(at, "h1")
    stop_and_go_on(at)
    at.type("exit\n")
    at.type("echo co''de $?\n")
    at.read_until("code 0")
    user.ok("down")


def test_a_script_has_its_terminal_again_when_the_command_has_ended(
    user: OrdinaryUser, shell: Callable[[], Shell]
) -> None:
    """The shell of a script waits for the command, and takes no terminal: without that it could not read any more."""
    up(user, *OVS)
    at = shell()
    at.type("set -b\n")  # bash tells of a job that stops at once, and not before the next line
    for words, enter in (("exec blue-1 -- env PS1=in: bash --norc", "in:"), ("prompt", PROMPT)):
        script = f"{command(user, *words.split())}; echo en''ded; read line; echo go''t $line"
        user.write("script.sh", script)
        at.type("sh script.sh\n")
        at.read_until(enter)
        at.type("exit\n")
        at.read_until("ended")
        at.type("this\n")
        at.read_until("got this")
    user.ok("down")
