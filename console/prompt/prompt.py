"""The prompt of a run in the foreground: the command's own verbs, and `NODE CMD` as in Mininet.

Reads a script as well as a person: end of input ends the run. As in Mininet, a VM's name among the
arguments of `NODE CMD` stands for its address.
"""

from __future__ import annotations

import cmd
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence

VERBS = ("status", "flows", "offloads", "capture", "latency", "vm", "model", "apply", "doctor")
_HELP = """\
  status [NODE]          servers, networks, counters; of one node
  flows NODE             what a switch does with which flow
  offloads               VM pairs that go host to host
  capture NODE [PORT]    packets inside the data plane; Ctrl-C ends it
  latency NODE           how long packets are inside the engines
  vm add|remove|list     change the run
  model show|set MODEL   the programming model
  apply FILE             have the run be what a changed file says; --dry-run: only tell
  NODE CMD ...           run a command in a node: blue-1 ping -c 3 blue-2
  exit, Ctrl-D, Ctrl-C   take everything down
"""


class Prompt(cmd.Cmd):
    """One session at the prompt.

    Args:
        run: name of the run.
        verb: executes a verb of the command line, e.g. ["status", "h1"]; returns its exit code.
        nodes: the names that `NODE CMD` may start with, asked again for each line.
        addresses: VM name -> address, likewise.
        execute: runs argv in a node; returns its exit code.
        ended: whether the run was taken down meanwhile: then the prompt ends after the line.
    """

    def __init__(
        self,
        run: str,
        *,
        verb: Callable[[list[str]], int],
        nodes: Callable[[], Iterable[str]],
        addresses: Callable[[], dict[str, str]],
        execute: Callable[[str, list[str]], int],
        ended: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self.tty = sys.stdin.isatty()
        self.prompt = f"hoverboard({run})> " if self.tty else ""
        self.exit_code = 0
        self.reading = False  # waiting for a line, and so allowed to be woken out of it
        self._verb, self._nodes, self._addresses, self._execute = verb, nodes, addresses, execute
        self._ended = ended

    def emptyline(self) -> bool:
        """An empty line does nothing; cmd.Cmd would repeat the last one."""
        return False

    def preloop(self) -> None:
        """The first line is read next."""
        self.reading = True

    def precmd(self, line: str) -> str:
        """A line has come and is executed now."""
        self.reading = False
        return line

    def postcmd(self, stop: bool, line: str) -> bool:
        """The wake-up for the end of the run is lost on us while a command has the terminal: look for it."""
        self.reading = True
        return stop or self._ended()

    def postloop(self) -> None:
        """No line is waited for any more."""
        self.reading = False

    def do_help(self, arg: str) -> None:
        """What can be typed."""
        print(_HELP, end="")

    def do_exit(self, arg: str) -> bool:
        """End the run."""
        return True

    do_quit = do_exit

    def do_EOF(self, arg: str) -> bool:  # the name cmd.Cmd calls at the end of input
        """End the run."""
        if self.tty:
            print()
        return True

    def default(self, line: str) -> None:
        """A verb, or a node and a command."""
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            self._fail(f"cannot read that line: {error}")
            return
        if not words:
            return
        code = self._run(words)
        self.exit_code = code or self.exit_code

    def _run(self, words: Sequence[str]) -> int:
        first, rest = words[0], list(words[1:])
        if first == "exec" and rest:
            first, rest = rest[0], rest[1:]
        elif first in VERBS:
            return self._verb([first, *rest])
        if first not in self._nodes():
            return self._fail(f"{first!r} is neither a verb nor a node; try `help`")
        rest = rest[1:] if rest[:1] == ["--"] else rest
        if not rest:
            return self._fail(f"what should {first} run? For a shell: {first} bash")
        addresses = self._addresses()
        return self._execute(first, [addresses.get(word, word) for word in rest])

    def _fail(self, text: str) -> int:
        print(f"hoverboard: {text}", file=sys.stderr)
        self.exit_code = 2
        return 2

    def completenames(self, text: str, *ignored: object) -> list[str]:
        """Tab completes verbs and nodes."""
        return [name for name in (*VERBS, "exec", "help", "exit", *self._nodes()) if name.startswith(text)]


def run_in(pid: int, argv: list[str]) -> int:
    """Run a command in the namespaces of `pid` with our own terminal; Ctrl-C is for it alone."""
    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        sys.stdout.flush()
        # SIG_IGN would be inherited: the command gets the default back.
        return subprocess.run(
            ["mnexec", "-a", str(pid), *argv],
            check=False,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ).returncode
    finally:
        signal.signal(signal.SIGINT, kept)
