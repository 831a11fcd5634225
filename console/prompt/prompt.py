"""The prompt of a run in the foreground. It takes verbs of `hoverboard`, and `NODE CMD` as in Mininet.

Input comes from a person or from a script. The end of input ends the run. As in Mininet, the name of a VM among the
arguments of `NODE CMD` stands for its address.
"""

from __future__ import annotations

import cmd
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence

VERBS = ("status", "flows", "offloads", "capture", "latency", "vm", "model", "offload", "apply", "doctor")
_HELP = """\
  status [NODE]          show the run with its counters, or one node
  flows NODE             show the flows of a switch, and its flow table
  offloads               list VM pairs whose traffic goes host to host
  capture NODE [PORT]    show packets inside the data plane; Ctrl-C ends it
  latency NODE           measure how long packets stay inside the engines
  vm add|remove|list     add, remove or list VMs
  model show|set MODEL   show or change the programming model
  offload show|set       show or change the offload policy and its threshold
  apply FILE             change the run to match a file; --dry-run only shows what would change
  NODE CMD ...           run a command in a node: blue-1 ping -c 3 blue-2
  exit, Ctrl-D, Ctrl-C   take the run down
"""


class Prompt(cmd.Cmd):
    """One session at the prompt.

    Args:
        run: name of the run.
        verb: executes a verb of the command line, e.g. ["status", "h1"], and returns its exit code.
        nodes: the names with which `NODE CMD` may start. Called for each line.
        addresses: name of a VM -> its address. Called for each line.
        execute: runs argv in a node, and returns its exit code.
        ended: whether the run has been taken down. If so, the prompt ends after the current line.
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
        self.reading = False  # waits for a line, and may be woken
        self._verb, self._nodes, self._addresses, self._execute = verb, nodes, addresses, execute
        self._ended = ended

    def emptyline(self) -> bool:
        """Do nothing: cmd.Cmd would repeat the last line."""
        return False

    def preloop(self) -> None:
        """Note that the first line is read next."""
        self.reading = True

    def precmd(self, line: str) -> str:
        """Note that a line is executed now, and return it."""
        self.reading = False
        return line

    def postcmd(self, stop: bool, line: str) -> bool:
        """Whether the prompt ends. A signal that comes while a command runs wakes no read, so `ended` is asked."""
        self.reading = True
        return stop or self._ended()

    def postloop(self) -> None:
        """Note that no further line is read."""
        self.reading = False

    def do_help(self, arg: str) -> None:
        """Print what can be typed."""
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
        """Execute a verb, or a command in a node."""
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
            return self._fail(f"there is no command to run in {first}; for a shell: {first} bash")
        addresses = self._addresses()
        return self._execute(first, [addresses.get(word, word) for word in rest])

    def _fail(self, text: str) -> int:
        print(f"hoverboard: {text}", file=sys.stderr)
        self.exit_code = 2
        return 2

    def completenames(self, text: str, *ignored: object) -> list[str]:
        """The verbs and nodes that start with `text`, for tab completion."""
        return [name for name in (*VERBS, "exec", "help", "exit", *self._nodes()) if name.startswith(text)]


def run_in(pid: int, argv: list[str]) -> int:
    """Run a command in the namespaces of `pid` with our terminal. Ctrl-C reaches only the command."""
    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        sys.stdout.flush()
        # The command would inherit SIG_IGN, so it gets the default handler.
        return subprocess.run(
            ["mnexec", "-a", str(pid), *argv],
            check=False,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ).returncode
    finally:
        signal.signal(signal.SIGINT, kept)
