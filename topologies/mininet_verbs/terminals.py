"""`xterm`, `gterm` and `x`: terminals and X11 programs for a node.

The terminal runs outside of the node, and only its shell inside: so it needs no tunnel for X11. It ends when the run
goes down, because its shell does.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hoverboard.contract.errors import InputError, MachineError
from hoverboard.safe_files import caller
from topologies.namespaces.entering import entering

if TYPE_CHECKING:
    from hoverboard.contract.node_documents import WiredNode

_PACKAGES = {"xterm": "xterm", "gterm": "gnome-terminal"}
_EARLY_SECONDS = 1.0  # in which a terminal that cannot reach its display has ended


def open_terminal(node: WiredNode, run: str, kind: str = "xterm") -> subprocess.Popen[bytes]:
    """Open a terminal with a shell in a node.

    Args:
        node: any node.
        run: name of the run, for the title.
        kind: "xterm" or "gterm".

    Raises:
        MachineError: there is no display, the terminal is not installed, or it ends at once.
    """
    environment = display_environment(os.environ)
    title = f"{node['name']} ({run})"
    shell = [*entering(node["pid"]), "env", f"PS1={node['name']}# ", "bash", "--norc"]
    argv = ["xterm", "-title", title, "-e"] if kind == "xterm" else ["gnome-terminal", "--title", title, "--"]
    return _start([*argv, *shell], environment, f"apt-get install {_PACKAGES[kind]}")


def run_x11(node: WiredNode, argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start an X11 program in a node.

    Raises:
        MachineError: there is no display, or the program ends at once.
        InputError: the display is reached over TCP, which leads nowhere from inside a node.
    """
    environment = display_environment(os.environ)
    host = environment["DISPLAY"].rpartition(":")[0]
    if host not in ("", "unix"):
        raise InputError(
            f"the display {environment['DISPLAY']} is reached over TCP, and {node['name']} has no way there",
            next_step="use xterm, which runs outside of the node, or a display of this machine",
        )
    return _start([*entering(node["pid"]), *argv], environment, "install the program")


def display_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a program that shows a window.

    After sudo, the key of the display is in the home of the person who called it.

    Raises:
        MachineError: there is no display.
    """
    if not environment.get("DISPLAY"):
        raise MachineError(
            "there is no DISPLAY, so no window can be shown",
            next_step="type `NODE bash` for a shell here; or log in with `ssh -X`, and keep DISPLAY when you use sudo",
        )
    found = dict(environment)
    uid = caller().uid
    if "XAUTHORITY" not in found and uid != os.geteuid():
        try:
            key = Path(pwd.getpwuid(uid).pw_dir, ".Xauthority")
        except KeyError:
            return found
        if key.exists():
            found["XAUTHORITY"] = str(key)
    return found


def _start(argv: list[str], environment: dict[str, str], step: str) -> subprocess.Popen[bytes]:
    """Start a program that shows a window; MachineError with its message when it ends at once."""
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError:
            raise MachineError(f"{argv[0]} is not installed", next_step=step) from None
        try:
            code = process.wait(_EARLY_SECONDS)
        except subprocess.TimeoutExpired:
            return process
        if code == 0:  # gnome-terminal hands its work to a server, and ends
            return process
        errors.seek(0)
        words = errors.read().decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {code}"]
    raise MachineError(f"{argv[0]} ended: {words[0]}", next_step="check that a program of yours can show a window")
