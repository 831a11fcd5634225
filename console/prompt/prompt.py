"""The prompt of a run: the verbs of `hoverboard`, those of Mininet, and `NODE CMD`.

Input comes from a person or from a script. As in Mininet, the name of a VM among the arguments of `NODE CMD` stands for
its address. Ctrl-C ends the command that runs; the end of input ends the prompt.
"""

from __future__ import annotations

import cmd
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from console.guard import print_error
from console.prompt.completion import Vocabulary, candidates
from console.prompt.verbs_of_mininet import PromptedRun, VerbsOfMininet
from hoverboard import text_files
from hoverboard.contract.errors import HoverboardError, InputError, MachineError
from topologies.mininet_verbs import listing
from topologies.mininet_verbs.node_command import Replaced, replace_names
from topologies.namespaces.entering import entering

OWN = ("exec", "help", "source", "time", "noecho", "sh", "exit", "quit")
# Verbs that make no sense inside a run, and what does.
_NOT_HERE = {
    "up": "leave the prompt first",
    "down": "type exit",
    "demo": "leave the prompt first",
    "experiment": "leave the prompt first",
    "python": "type py or px",
    "prompt": "this is one",
}
_INTERRUPTED = 130  # as shells report SIGINT
_DEEPEST = 16  # files that name one another by `source`
_OWN_HELP = """\
  NODE CMD ...           run a command in a node, by a shell: blue-1 ping -c 3 blue-2 | tail -1
  exec NODE -- CMD ...   the same, for a node that has the name of a verb
  sh CMD ...             run a command outside of the nodes
  source FILE            execute the lines of a file
  time LINE              execute a line, and print how long it took
  noecho LINE            execute a line; nothing echoes here, so it changes nothing
  exit, quit, Ctrl-D     {leave}
  Ctrl-C                 end the command that runs, or drop the line
"""


class Prompt(cmd.Cmd):
    """One session at the prompt.

    Args:
        name: of the run.
        run: the run.
        verb: executes a verb of the command line, e.g. ["status", "h1"], and returns its exit code.
        verbs: the verbs of the command line, each with a line of help.
        execute: runs argv in the namespaces of a pid, or on this machine without one; returns its exit code.
        mininet: Mininet's verbs; default: without `py` and `px`.
        options: the options and words that may follow the words of a verb, for Tab.
        ended: whether the run has been taken down. If so, the prompt ends after the current line.
        leave: what the end of the prompt does, for `help`.
    """

    def __init__(
        self,
        name: str,
        run: PromptedRun,
        *,
        verb: Callable[[list[str]], int],
        verbs: dict[str, str],
        execute: Callable[[int | None, list[str]], int],
        mininet: VerbsOfMininet | None = None,
        options: Callable[[Sequence[str]], list[str]] = lambda words: [],
        ended: Callable[[], bool] = lambda: False,
        leave: str = "take the run down",
    ) -> None:
        super().__init__()
        self.tty = sys.stdin.isatty()
        self.prompt = f"hoverboard({name})> " if self.tty else ""
        self.exit_code = 0
        self.reading = False  # waits for a line, and may be woken
        self._run, self._verb, self._execute, self._ended = run, verb, execute, ended
        self._verbs = {word: text for word, text in verbs.items() if word not in (*_NOT_HERE, "exec")}
        self._mininet = mininet or VerbsOfMininet(run)
        self._options, self._leave = options, leave
        self._depth = 0
        self._offered: list[str] = []

    # -- the loop -----------------------------------------------------------------------------------

    def loop(self) -> None:
        """Read and execute lines until the end of input. Ctrl-C at a terminal only drops the line."""
        while True:
            try:
                return self.cmdloop()
            except KeyboardInterrupt:
                self.reading = False
                if not self.tty:
                    raise
                print(f"\n(Ctrl-D or `exit`: {self._leave})", file=sys.stderr)

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

    def onecmd(self, line: str) -> bool:
        """Execute one line; return whether the prompt ends. An error is printed, and kept as the exit code."""
        try:
            return self._line(line.strip())
        except KeyboardInterrupt:
            if not self.tty or self._depth:
                raise
            print(file=sys.stderr)
            self._note(_INTERRUPTED)
        except HoverboardError as error:
            print_error(error)
            self._note(error.exit_code)
        except BrokenPipeError:
            raise
        except OSError as error:
            print(f"hoverboard: {error}", file=sys.stderr)
            self._note(1)
        return False

    # -- one line -----------------------------------------------------------------------------------

    def _line(self, line: str) -> bool:
        first, rest = [*line.split(None, 1), "", ""][:2]
        if not first or first.startswith("#"):
            return False
        if first in ("exit", "quit", "EOF"):
            if first == "EOF" and self.tty:
                print()
            return True
        if first in ("source", "time", "noecho"):
            return self._wrapped(first, rest)
        self._note(self._command(first, rest))
        return False

    def _wrapped(self, word: str, rest: str) -> bool:
        """Execute a line, or the lines of a file, on behalf of another line."""
        if not rest:
            raise InputError(f"`{word}` needs {'a file' if word == 'source' else 'a line'}", next_step="type `help`")
        if self._depth >= _DEEPEST:
            raise InputError(f"{word}: {_DEEPEST} lines lead to one another", next_step="end the circle")
        self._depth += 1
        try:
            if word == "source":
                return self._lines(_lines_of(rest))
            begin = time.perf_counter()
            stop = self.onecmd(rest)
            if word == "time":
                print(f"*** Elapsed time: {time.perf_counter() - begin:.6f} secs")
            return stop
        finally:
            self._depth -= 1

    def _lines(self, lines: Sequence[str]) -> bool:
        """Execute the lines of a file; Ctrl-C ends the command that runs, and with it the file."""
        for line in lines:
            before, self.exit_code = self.exit_code, 0
            stop = self.onecmd(line)
            interrupted = self.exit_code in (_INTERRUPTED, -signal.SIGINT)
            self.exit_code = self.exit_code or before
            if stop or self._ended():
                return True
            if interrupted:
                return False
        return False

    def _command(self, first: str, rest: str) -> int:
        if first in ("help", "?"):
            return self._help(rest)
        if first in VerbsOfMininet.HELP:
            return self._mininet.execute(first, _words(rest) if first not in ("py", "px") else [], rest)
        if first == "sh":
            if not rest:
                raise InputError("there is no command to run", next_step="type: sh CMD ...")
            return self._execute(None, ["bash", "-c", rest])
        if first in self._verbs:
            return self._verb([first, *_words(rest)])
        if first == "exec" and rest:
            first, rest = [*rest.split(None, 1), ""][:2]
            return self._in_node(first, re.sub(r"^--(\s+|$)", "", rest))
        if first in listing.names(self._run.wiring()):
            return self._in_node(first, re.sub(r"^--(\s+|$)", "", rest))
        if first in _NOT_HERE:
            raise InputError(f"`{first}` does not work at the prompt", next_step=_NOT_HERE[first])
        raise InputError(f"{first!r} is neither a verb nor a node", next_step="type `help`")

    def _in_node(self, name: str, text: str) -> int:
        wiring = self._run.wiring()
        node = listing.node(wiring, name)
        if not text.strip():
            raise InputError(f"there is no command to run in {name}", next_step=f"for a shell: {name} bash")
        replaced: Replaced = replace_names(wiring, node, text.strip())
        for note in replaced.notes:
            print(f"note: {note}", file=sys.stderr)
        return self._execute(node["pid"], ["bash", "-c", replaced.text])

    def _help(self, word: str) -> int:
        rows = {word: (arguments, text) for word, (arguments, text) in VerbsOfMininet.HELP.items()}
        if word in rows:
            print(f"{word} {rows[word][0]}: {rows[word][1]}")
        elif word in self._verbs:
            return self._verb([word, "--help"])
        elif word:
            raise InputError(f"there is no help for {word!r}", next_step="type `help`")
        else:
            print("verbs of hoverboard; VERB --help says more")
            for name, text in self._verbs.items():
                print(f"  {name:22} {text}")
            print("verbs of Mininet")
            for name, (arguments, text) in rows.items():
                print(f"  {f'{name} {arguments}':22} {text}")
            print("all else")
            print(_OWN_HELP.format(leave=self._leave), end="")
        return 0

    def _note(self, code: int) -> None:
        self.exit_code = code or self.exit_code

    # -- Tab ----------------------------------------------------------------------------------------

    def complete(self, text: str, state: int) -> str | None:  # type: ignore[override]
        """The candidate number `state` for the word that is typed; readline asks until there is none."""
        import readline

        if state == 0:
            before = readline.get_line_buffer()[: readline.get_begidx()].split()
            self._offered = candidates(before, text, self._vocabulary())
        if state >= len(self._offered):
            return None
        found = self._offered[state]
        return found if found.endswith("/") else f"{found} "

    def _vocabulary(self) -> Vocabulary:
        wiring = self._run.wiring()
        return Vocabulary(
            verbs=[*self._verbs, *VerbsOfMininet.HELP, *OWN],
            nodes=listing.names(wiring),
            vms=[node["name"] for node in wiring["nodes"] if node["kind"] == "vm"],
            options=self._options,
            files=_files,
        )


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError as error:
        raise InputError(f"cannot read that line: {error}", next_step="close the quotation mark") from None


def _lines_of(file: str) -> list[str]:
    words = _words(file)
    if not words:
        raise InputError("`source` needs a file", next_step="type `help`")
    path = Path(os.path.expanduser(words[0]))  # that of Path raises an error for a user who is unknown
    return text_files.read_text(path, "file of lines", next_step="give a file of lines", pipe=True).splitlines()


def _files(start: str) -> list[str]:
    """The paths that begin so; a folder ends in a slash."""
    folder = Path(start).expanduser() if start.endswith("/") else Path(start).expanduser().parent
    prefix = start[: start.rfind("/") + 1]
    try:
        return [f"{prefix}{path.name}{'/' if path.is_dir() else ''}" for path in folder.iterdir()]
    except OSError:
        return []


def run_command(pid: int | None, argv: list[str]) -> int:
    """Run a command with our terminal; Ctrl-C reaches only the command.

    Args:
        pid: run it in the namespaces of this process; None: in ours.
        argv: the command.

    Returns:
        Its exit code, 128 and the number of the signal when one ended it.
    """
    command = argv if pid is None else [*entering(pid), *argv]
    # A handler that does nothing, and not SIG_IGN: the command inherits the latter, and the former becomes the default.
    # `preexec_fn` would do as well, but runs Python between fork and exec, which gRPC's threads do not survive.
    kept = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        sys.stdout.flush()
        code = subprocess.run(command, check=False).returncode
    except FileNotFoundError:
        raise MachineError(f"{command[0]} is not installed", next_step="install it: sudo ./bootstrap.sh demo") from None
    finally:
        signal.signal(signal.SIGINT, kept)
    return code if code >= 0 else 128 - code
