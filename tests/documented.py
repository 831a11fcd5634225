"""The blocks that documents show, and how each is tested.

The comment in the line before a fenced block is its mark:

- `<!-- tested -->`: each of its commands succeeds, and takes seconds. They run in CI.
- `<!-- tested as root -->`: as `tested`, and left out where the tests run as an ordinary user.
- `<!-- tested: fails -->`: as `tested`, but each command ends with an error of its own, as the text says.
- `<!-- tested: NAME -->`: a file, which is written for the commands after it.
- `<!-- tested: long -->`: as `tested`, but in the long ring.
- `<!-- tested from a clone -->`: commands that set Hoverboard up or remove it. The long ring types them in a clone.
- `<!-- tested from a clone as an ordinary user -->`: the same, typed by a user without an account and without root.
- `<!-- test command -->`: CI is this command (.ci/run).
- `<!-- part of FILE -->`: lines of a file of the checkout, which other tests use.
- `<!-- shown: REASON -->`: commands that no test runs, and the reason.

Output and layouts have the language `text` and no mark. `type_blocks` runs what has one.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.prose.collection import ROOT, documents

LANGUAGES = {"sh", "yaml", "python", "toml", "text"}
QUICK, AS_ROOT, FAILS, LONG = "tested", "tested as root", "tested: fails", "tested: long"
FROM_CLONE, TEST_COMMAND = "tested from a clone", "test command"
FROM_USERS_CLONE = "tested from a clone as an ordinary user"
FOR_COMMANDS = (QUICK, AS_ROOT, FAILS, LONG, FROM_CLONE, FROM_USERS_CLONE, TEST_COMMAND)
IN_CI, IN_LONG_RING = (QUICK, FAILS), (QUICK, FAILS, LONG)
_FILE = re.compile(r"tested: (?P<name>\S+\.\w+)")
_PART = re.compile(r"part of (?P<file>\S+)")
_SHOWN = re.compile(r"shown: (?P<reason>.+)")
_MARK = re.compile(r"<!-- (.*) -->")
_FENCE = re.compile(r"```(.*)")
_INDENTED = re.compile(r"(?: {4}|\t)\s*\S")
_OTHER_FENCE = re.compile(r"\s+```|\s*~~~")
_COMMENT = re.compile(r"(^|\s)#.*")
_BAR_MISSED = "MISSED"
# Exit codes of a shell that cannot execute a program, or does not find it.
_NO_PROGRAM = (126, 127)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a document.

    Attributes:
        place: document and line, for messages.
        mark: text of the comment in the line before; empty without one.
        language: the word after the fence; empty without one.
        text: the block without its fences.
    """

    place: str
    mark: str
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """Name of the file that the block is; None if it is not a file."""
        found = _FILE.fullmatch(self.mark)
        return found["name"] if found else None

    @property
    def part_of(self) -> str | None:
        """The file of the checkout that has the block's lines; None if it stands for itself."""
        found = _PART.fullmatch(self.mark)
        return found["file"] if found else None

    @property
    def shown(self) -> str | None:
        """Reason for which no test runs the block; None if one does."""
        found = _SHOWN.fullmatch(self.mark)
        return found["reason"] if found else None

    @property
    def is_marked(self) -> bool:
        """Whether the mark says how the block is tested."""
        return self.mark in FOR_COMMANDS or bool(self.file or self.part_of or self.shown)

    def faults(self) -> list[str]:
        """What is wrong with the block itself: its language, its mark, or no text."""
        wrong = []
        if self.language not in LANGUAGES:
            wrong.append("unknown language")
        if not self.text.strip():
            wrong.append("empty")
        if self.language == "text":
            return wrong + ["output has no mark"] * bool(self.mark)
        if not self.is_marked:
            wrong.append("the line before it says how it is tested: see tests/documented.py")
        if self.mark in FOR_COMMANDS and self.language != "sh":
            wrong.append("a mark for commands, and no commands")
        if (self.file or self.part_of) and self.language == "sh":
            wrong.append("a mark for files, and commands")
        return wrong

    def uses(self, file: str) -> bool:
        """Whether a command or line of the block names a file; a comment does not count."""
        code = "\n".join(_COMMENT.sub("", line) for line in self.text.splitlines())
        return self.language != "text" and re.search(rf"(?<![\w.-]){re.escape(file)}(?!\w)", code) is not None

    def commands(self) -> list[str]:
        """The commands of the block; a line that ends in a backslash goes on."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]


def pages() -> dict[str, Path]:
    """All documents with commands that people type, by their path in the checkout."""
    return {path.relative_to(ROOT).as_posix(): path for path in documents()}


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a document, in order.

    Raises:
        ValueError: a fence is not closed.
    """
    found = []
    lines = iter(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
    before = ""
    for number, line in lines:
        fence = _FENCE.fullmatch(line)
        if fence:
            inside = _until_fence(lines, f"{path.name}:{number}")
            mark = _MARK.fullmatch(before)
            found.append(Block(f"{path.name}:{number}", mark[1] if mark else "", fence[1], inside))
        before = line
    return found


def file_text(page: str, name: str) -> str:
    """The text of a file that a page shows.

    Args:
        page: path of the document in the checkout.
        name: name of the file in its mark.
    """
    (text,) = (block.text for block in blocks(ROOT / page) if block.file == name)
    return text


def indented(path: Path) -> list[str]:
    """Places of indented code: indented lines after an empty one, and fences that are indented or of another kind."""
    found = []
    lines = iter(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
    before = ""
    for number, line in lines:
        if _FENCE.fullmatch(line):
            _until_fence(lines, f"{path.name}:{number}")
        elif _OTHER_FENCE.match(line) or (_INDENTED.match(line) and not before.strip()):
            found.append(f"{path.name}:{number}")
        before = line
    return found


def _until_fence(lines: Iterator[tuple[int, str]], place: str) -> str:
    inside: list[str] = []
    for _, line in lines:
        if line == "```":
            return "".join(inside)
        inside.append(f"{line}\n")
    raise ValueError(f"{place}: the fence is not closed")


def commands_on_path(folder: Path, **programs: str) -> str:
    """A PATH on which these programs come first, each with the text of its shell script."""
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def checkout_environment(folder: Path) -> dict[str, str]:
    """An environment in which `hoverboard` is the checkout's, and `sudo` is nothing: the system ring is root.

    Args:
        folder: a directory for the two commands; it is made.
    """
    # Root may read a checkout of another user, which git rejects unless its configuration names it as safe.
    trusting = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    path = commands_on_path(
        folder, sudo='exec "$@"', hoverboard=f'exec {shlex.quote(sys.executable)} -P -m console.cli "$@"'
    )
    return os.environ | trusting | {"PATH": path, "PYTHONPATH": str(ROOT)}


def type_blocks(
    found: list[Block], marks: tuple[str, ...], work: Path, environment: dict[str, str], *, seconds: float
) -> None:
    """Write the files, and type the commands of the blocks with one of these marks.

    Args:
        found: the blocks of a document.
        marks: marks of the blocks whose commands are typed; all files are written.
        work: the directory in which a reader would be.
        environment: the environment of the commands.
        seconds: how long one command may take.

    Raises:
        AssertionError: a command failed, or one that should fail did not; says which, and what it printed.
    """
    for block in found:
        if block.file:
            (work / block.file).write_text(block.text)
        elif block.mark in marks:
            for command in block.commands():
                code, printed = _type(command, work, environment, seconds)
                # A benchmark that misses a bar ends with exit code 1. It has worked: no test asserts a time.
                missed_a_bar = code == 1 and "-m benchmarks." in command and _BAR_MISSED in printed
                failed = code > 0 and code not in _NO_PROGRAM
                as_documented = failed if block.mark == FAILS else code == 0 or missed_a_bar
                assert as_documented, f"{block.place}: {command}: exit code {code}\n{printed}"


def _type(command: str, work: Path, environment: dict[str, str], seconds: float) -> tuple[int, str]:
    """Run a command; returns its exit code and what it printed. One that ends in `&` goes on in the background."""
    # A file and no pipe: nothing waits for a program in the background to close it.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", command], cwd=work, env=environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            code = process.wait(30)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        output.seek(0)
        return code, output.read()
