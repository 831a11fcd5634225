"""`hoverboard exec`: runs a command in a node, with the caller's terminal."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, NamedTuple

import typer

from console import guard, runs
from console.verbs.options import Node, Run
from hoverboard.contract.errors import InputError


def execute(
    node: Node,
    command: Annotated[list[str], typer.Argument(metavar="-- CMD ...", help="The command and its arguments.")],
    run: Run = None,
    user: Annotated[
        str | None,
        typer.Option("--as", metavar="USER", help="Run the command as this user of the machine. Default: as root."),
    ] = None,
) -> None:
    """Run a command in a node, with this terminal. The exit code is that of the command."""
    given = split_command(command)
    from topologies.client.run_client import RunClient
    from topologies.namespaces.entering import entering, marking
    from topologies.namespaces.users import as_user

    name = given.user or user
    user_words = [] if name is None else as_user(name)
    with RunClient(runs.entered(given.run or run)) as client:
        pid = client.pid_of(node)
    # The environment of a login is a new one, without the mark.
    argv = given.argv if name is None else [*user_words, *marking(pid), *given.argv]
    sys.stdout.flush()
    guard.restore_umask()
    command = [*entering(pid), *argv]
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and the command would
        signal.signal(number, signal.SIG_DFL)
    os.execvp(command[0], command)


class Words(NamedTuple):
    """The words after NODE.

    Attributes:
        run: of `--run` before the command.
        user: of `--as` before the command.
        argv: the command.
    """

    run: str | None
    user: str | None
    argv: list[str]


def split_command(words: list[str]) -> Words:
    """Options after NODE, if they stand before the command, and the command.

    Raises:
        InputError: there is no command.
    """
    found, rest = dict[str, str](), list(words)
    while rest:
        option, is_whole, value = rest[0].partition("=")
        if option not in ("--run", "--as") or not (is_whole or (len(rest) > 1 and rest[1] != "--")):
            break
        found[option] = value if is_whole else rest[1]
        rest = rest[1:] if is_whole else rest[2:]
    argv = rest[1:] if rest[:1] == ["--"] else rest
    if not argv:
        raise InputError(
            "there is no command to run", where="exec", next_step="give one: hoverboard exec NODE -- ping -c 3 10.0.0.3"
        )
    return Words(found.get("--run"), found.get("--as"), argv)
