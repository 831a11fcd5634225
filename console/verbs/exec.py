"""`hoverboard exec`: runs a command in a node, with the caller's terminal."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from console import runs
from console.verbs.options import Node, Run
from hoverboard.contract.errors import InputError, MachineError


def execute(
    node: Node,
    command: Annotated[list[str], typer.Argument(metavar="-- CMD ...", help="The command and its arguments.")],
    run: Run = None,
) -> None:
    """Run a command in a node, with this terminal. The exit code is that of the command."""
    runs.need_root("exec")
    given, argv = split_command(command)
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(given or run)) as client:
        pid = client.pid_of(node)
    sys.stdout.flush()
    try:
        os.execvp("mnexec", ["mnexec", "-a", str(pid), *argv])
    except FileNotFoundError:
        raise MachineError("mnexec is not installed", next_step="install it: sudo ./bootstrap.sh demo") from None


def split_command(words: list[str]) -> tuple[str | None, list[str]]:
    """The words after NODE: the name of `--run`, if it stands before the command, and the command."""
    run = None
    if words[:1] == ["--run"] and len(words) > 1:
        run, words = words[1], words[2:]
    elif words and words[0].startswith("--run="):
        run, words = words[0].removeprefix("--run="), words[1:]
    argv = words[1:] if words[:1] == ["--"] else words
    if not argv:
        raise InputError(
            "there is no command to run", where="exec", next_step="give one: hoverboard exec NODE -- ping -c 3 10.0.0.3"
        )
    return run, argv
