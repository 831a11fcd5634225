"""A run held in the foreground: its prompt, wired to the testbed of this process."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from console.prompt import Prompt, run_in

if TYPE_CHECKING:
    from topologies.testbed import Testbed


def hold(testbed: Testbed) -> int:
    """Prompt until the end of input, `exit`, Ctrl-C, or until somebody else takes the run down.

    Returns:
        0 for a person; for a script the exit code of the last line that failed, if any.
    """
    from console.cli import app

    def verb(words: list[str]) -> int:
        if words[0] != "doctor":
            # Behind the verb's own words, before anything that belongs to a command.
            words = [*words, "--run", testbed.run]
        try:
            app(words, prog_name="")
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else 0
        return 0

    prompt = Prompt(
        testbed.run,
        verb=verb,
        nodes=lambda: _names(testbed),
        addresses=lambda: {vm.name: str(vm.ip) for vm in testbed.topology.vms},
        execute=lambda node, argv: run_in(testbed.pid_of(node), argv),
        over=testbed.closed.is_set,
    )
    ended = _interrupt_when_down(testbed)
    try:
        if prompt.tty:
            print("type `help`; Ctrl-D takes everything down", file=sys.stderr)
        prompt.cmdloop()
    except KeyboardInterrupt:
        print(file=sys.stderr)
    finally:
        ended.set()
    return 0 if prompt.tty else prompt.failed


def _names(testbed: Testbed) -> list[str]:
    topology = testbed.topology
    return [vm.name for vm in topology.vms] + [server.name for server in topology.servers] + [testbed.fabric_name]


def _interrupt_when_down(testbed: Testbed) -> threading.Event:
    """Wake the prompt out of its read when the run is taken down by `hoverboard down`."""
    over = threading.Event()

    def watch() -> None:
        testbed.closed.wait()
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, name="run-watch", daemon=True).start()
    return over
