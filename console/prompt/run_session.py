"""Connects the prompt to a run that this process holds."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from console.prompt.prompt import Prompt, run_in

if TYPE_CHECKING:
    from topologies.run.testbed import Testbed


_WAKE_SECONDS = 0.1


class RunEnded(BaseException):
    """The run was taken down while its prompt waited for a line."""


def hold(testbed: Testbed, command: Callable[..., object]) -> int:
    """Prompt until the end of input, `exit` or Ctrl-C, or until another command takes the run down.

    Args:
        testbed: the run, which this process holds.
        command: the `hoverboard` command, whose verbs can be typed.

    Returns:
        0 for a person; for a script the exit code of the last line that failed, if any.
    """

    def verb(words: list[str]) -> int:
        if words[0] != "doctor":
            # Each verb but `doctor` is for this run.
            words = [*words, "--run", testbed.run]
        try:
            command(words, prog_name="")
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else 0
        return 0

    prompt = Prompt(
        testbed.run,
        verb=verb,
        nodes=lambda: _node_names(testbed),
        addresses=lambda: {vm.name: str(vm.ip) for vm in testbed.topology.vms},
        execute=lambda node, argv: run_in(testbed.pid_of(node), argv),
        ended=lambda: testbed.going_down,
    )
    with _wake_when_down(testbed, prompt):
        try:
            if prompt.tty:
                print("type `help`; Ctrl-D takes everything down", file=sys.stderr)
            prompt.cmdloop()
        except (KeyboardInterrupt, RunEnded):
            print(file=sys.stderr)
    return 0 if prompt.tty else prompt.exit_code


def _node_names(testbed: Testbed) -> list[str]:
    topology = testbed.topology
    return [vm.name for vm in topology.vms] + [server.name for server in topology.servers] + [testbed.fabric_name]


@contextlib.contextmanager
def _wake_when_down(testbed: Testbed, prompt: Prompt) -> Iterator[None]:
    """End the prompt's read when `hoverboard down` takes the run down.

    The signal is sent until the prompt has ended. One signal may be lost: it may come just before the read sleeps, or
    the kernel may deliver it to another thread. It ends a read of the prompt and nothing else.
    """
    ended = threading.Event()
    main = threading.main_thread()

    def end(_number: int, _frame: object) -> None:
        if prompt.reading:
            prompt.reading = False
            raise RunEnded

    def watch() -> None:
        testbed.wait_going_down()
        while not ended.wait(_WAKE_SECONDS):
            if main.ident is not None:
                signal.pthread_kill(main.ident, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, end)
    watcher = threading.Thread(target=watch, name="run-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        prompt.reading = False
        ended.set()
        if testbed.going_down:
            watcher.join()  # the default handler of its signal would end this process
            signal.signal(signal.SIGUSR1, before)
