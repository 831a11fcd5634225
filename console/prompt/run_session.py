"""Connects the prompt to a run: to one that this process holds, or to one that another process holds."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from console import runs
from console.prompt import history, own_group
from console.prompt.prompt import Prompt, run_command
from console.prompt.verbs_of_mininet import VerbsOfMininet

if TYPE_CHECKING:
    from topologies.client.run_client import RunClient
    from topologies.run.testbed import Testbed


_WAKE_SECONDS = 0.1
_INTERRUPTED = 130  # as shells report SIGINT


class RunEnded(BaseException):
    """The run was taken down while its prompt waited for a line, or a signal ends it."""


def hold(testbed: Testbed, command: Any) -> int:
    """Prompt until the end of input or `exit`, until a signal, or until another command takes the run down.

    Args:
        testbed: the run, which this process holds.
        command: the `hoverboard` command, whose verbs can be typed.

    Returns:
        0 for a person; for a script the exit code of the last line that failed, if any.
    """
    prompt = Prompt(
        testbed.run,
        testbed,
        mininet=VerbsOfMininet(testbed, _python_names(testbed)),
        ended=lambda: testbed.going_down,
        **_of_command(command, testbed.run),
    )
    with _wake_when_down(testbed, prompt):
        return _converse(prompt, "type `help`; Ctrl-D takes everything down")


def attach(client: RunClient, run: str, command: Any) -> int:
    """Prompt for a run that another process holds; the run stays up.

    Args:
        client: of the run.
        run: its name.
        command: the `hoverboard` command, whose verbs can be typed.

    Returns:
        As `hold` does.
    """
    from topologies.client.run_client import live_runs

    def ended() -> bool:
        if run in live_runs():
            return False
        print(f"run {run!r} is down", file=sys.stderr)
        return True

    prompt = Prompt(run, client, ended=ended, leave="leave the prompt; the run stays up", **_of_command(command, run))
    return _converse(prompt, "type `help`; Ctrl-D leaves the prompt, and the run stays up")


def _converse(prompt: Prompt, greeting: str) -> int:
    """Read lines until the prompt ends, and return its exit code."""
    with _ended_by_signals(), _history(prompt):
        try:
            if prompt.tty:
                own_group.take_terminal()
                print(greeting, file=sys.stderr)
            prompt.loop()
        except RunEnded:
            print(file=sys.stderr)
        except KeyboardInterrupt:  # of a script: at a terminal, Ctrl-C ends no prompt
            print(file=sys.stderr)
            return _INTERRUPTED
    return 0 if prompt.tty else prompt.exit_code


def _of_command(command: Any, run: str) -> dict[str, Any]:
    """The arguments of `Prompt` that come from the `hoverboard` command."""

    def verb(words: list[str]) -> int:
        named = ["--run", run] if runs.takes_run(command.commands[words[0]]) else []
        try:
            command([*named, *words], prog_name="hoverboard")
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        return 0

    return {
        "verb": verb,
        "verbs": {name: one.get_short_help_str(70) for name, one in command.commands.items()},
        "options": lambda words: _options(command, words),
        "execute": run_command,
    }


def _options(command: Any, words: Sequence[str]) -> list[str]:
    """The verbs or options that may follow the words of a verb."""
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    below = getattr(command, "commands", {})
    return list(below) or [name for one in command.params for name in one.opts if name.startswith("--")]


def _python_names(testbed: Testbed) -> Callable[[], dict[str, Any]]:
    """The names for `py` and `px`: net, testbed, and each node, with "_" for "-"."""
    made: list[Any] = []

    def names() -> dict[str, Any]:
        from topologies.net import HoverboardNet

        if not made:
            made.append(HoverboardNet.of(testbed))
        net = made[0]
        net.refresh()
        return {"net": net, "testbed": testbed, **{name.replace("-", "_"): node for name, node in net.items()}}

    return names


@contextlib.contextmanager
def _history(prompt: Prompt) -> Iterator[None]:
    """Keep what a person types, for the next prompt."""
    owner = history.person() if prompt.tty else None
    if owner is None:
        yield
        return
    import readline

    readline.set_completer_delims(" \t\n")  # names of nodes have a "-"
    readline.clear_history()
    before = history.read(owner)
    for line in before:
        readline.add_history(line)
    try:
        yield
    finally:
        typed = [readline.get_history_item(number) for number in range(len(before) + 1, _length(readline) + 1)]
        if not history.save(owner, [line for line in typed if line]):
            print(f"note: what you typed is not kept: {owner.home / history.NAME} cannot be written", file=sys.stderr)


def _length(readline: Any) -> int:
    return int(readline.get_current_history_length())


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """End the prompt at SIGTERM and SIGHUP, and the command that it runs."""

    def end(_number: int, _frame: object) -> None:
        raise RunEnded

    kept = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


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
