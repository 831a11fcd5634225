"""What the command line of `tests/mutate` asks for, checked before anything is begun.

`python -m tests.mutation.arguments` is the check that `tests/mutate` makes in the checkout itself. It writes the
checkout's path to descriptor 3, and with --changed the changed lines, as JSON, in the line after it.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

LAYERS = ("hoverboard", "controllers", "topologies", "experiments", "console", "benchmarks")
GENERATED = re.compile(r"_pb2(_grpc)?\.py$")


@dataclasses.dataclass(frozen=True)
class Options:
    """What is asked for.

    Attributes:
        lines: file -> lines that count; None: all.
        sample: mutants of each module at the most; 0: all.
        seconds: of tests for each mutant; slower tests are left out, and it is said.
    """

    lines: dict[str, set[int] | None]
    sample: int
    seed: int
    seconds: float


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"tests/mutate: {message}\n")


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments; SystemExit with code 2 and one line to standard error if they cannot be meant."""
    parser = _Parser(
        prog="tests/mutate",
        description="Change one thing at a time in a module, and see whether a unit test fails.",
        allow_abbrev=False,
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="a file or a folder of the layers")
    parser.add_argument(
        "--root", metavar="CHECKOUT", help="the checkout that is tested (default: the one of this script)"
    )
    parser.add_argument("--changed", action="store_true", help="only lines that were changed, in all modules")
    parser.add_argument(
        "--base", metavar="REV", help="with --changed: since this commit (default: the remote's main, else HEAD)"
    )
    parser.add_argument("--lines", metavar="A-B", help="only these lines")
    parser.add_argument(
        "--sample", type=int, default=0, metavar="N", help="at most N mutants a module, drawn by --seed (default: all)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the sample (default: 1)")
    parser.add_argument("--seconds", type=float, default=20, metavar="S", help="of tests for each mutant (default: 20)")
    found = parser.parse_args(arguments)
    if found.changed and (found.modules or found.lines):
        parser.error("--changed takes all modules: name either it or modules")
    if not found.changed and not found.modules:
        parser.error("name modules, or --changed")
    if found.base is not None and not found.changed:
        parser.error("--base goes with --changed")
    if found.sample < 0:
        parser.error(f"--sample {found.sample}: a number from 0 on")
    if not 0 < found.seconds < 100_000:
        parser.error(f"--seconds {found.seconds}: a number above 0")
    if found.lines is not None:
        numbers = re.fullmatch(r"(\d+)(?:-(\d+))?", found.lines)
        first, last = (int(numbers[1]), int(numbers[2] or numbers[1])) if numbers else (0, 0)
        if not 0 < first <= last:
            parser.error(f"--lines {found.lines}: a line, or the first and the last such as 12-34")
        found.lines = set(range(first, last + 1))
    return found


def options(found: argparse.Namespace, checkout: Path, changed: dict[str, set[int]]) -> Options:
    """The modules and lines meant; SystemExit as `parsed`.

    Args:
        changed: with --changed, as `changed_lines` gives it.
    """
    lines: dict[str, set[int] | None] = dict(changed)
    if not found.changed:
        lines = {file: found.lines for name in found.modules for file in _files(name, checkout)}
    for file in lines:
        try:
            ast.parse((checkout / file).read_text(encoding="utf-8"))
        except (SyntaxError, ValueError) as error:
            refuse(f"{file} cannot be read as Python: {error}")
    return Options(lines, found.sample, found.seed, found.seconds)


def refuse(message: str) -> NoReturn:
    """End with one line and exit code 2."""
    _Parser(prog="tests/mutate").error(message)


def _files(name: str, checkout: Path) -> list[str]:
    path = (checkout / name).resolve()
    if not path.exists() or not path.is_relative_to(checkout):
        refuse(f"{name}: no such file or folder in this checkout")
    paths = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    files = [str(each.relative_to(checkout)) for each in paths if not GENERATED.search(each.name)]
    if path.suffix != ".py" and not path.is_dir():
        refuse(f"{name} is no Python file")
    if not files or any(file.split("/")[0] not in LAYERS for file in files):
        refuse(f"{name}: a file or a folder of {', '.join(LAYERS)}, with code that is written by hand")
    return files


# --- what has changed ---------------------------------------------------------------------------------------------


def checkout_of(root: Path) -> Path:
    """The top of a git checkout; SystemExit as `parsed`."""
    done = _git(root, "rev-parse", "--show-toplevel") if root.is_dir() else None
    if done is None or done.returncode or Path(done.stdout.strip()).resolve() != root.resolve():
        refuse(f"--root {root}: not the top of a git checkout")
    return root.resolve()


def changes_since(checkout: Path, base: str | None) -> dict[str, set[int]]:
    """File -> lines that differ from a commit, with what is not committed and what is not in the index.

    Args:
        base: None: where HEAD left the main branch of the remote, else HEAD.
    """
    if base is None:
        found = _git(checkout, "merge-base", "HEAD", "origin/main")
        base = found.stdout.strip() if found.returncode == 0 else "HEAD"
    commit = _git(checkout, "rev-parse", "--verify", "--quiet", "--end-of-options", base + "^{commit}")
    if commit.returncode:
        refuse(f"--base {base}: no such commit")
    base = commit.stdout.strip()
    with tempfile.TemporaryDirectory() as directory:
        # An index of our own: that of the user stays as it is.
        ours = {
            "GIT_INDEX_FILE": str(Path(directory, "index")),
            "GIT_OBJECT_DIRECTORY": str(Path(directory, "objects")),
        }
        objects = Path(_git(checkout, "rev-parse", "--path-format=absolute", "--git-path", "objects").stdout.strip())
        ours["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(objects)
        Path(directory, "objects").mkdir()
        prefixes = ("--src-prefix=a/", "--dst-prefix=b/")
        steps = (
            ("read-tree", base),
            ("add", "--all"),
            ("diff", "--cached", "--unified=0", "--no-color", "--no-ext-diff", *prefixes, base, "--", "*.py"),
        )
        for step in steps:
            done = _git(checkout, *step, environment=ours)
            if done.returncode:
                refuse(f"git {step[0]}: {done.stderr.strip()}")
        clean = not done.stdout and not _git(checkout, "diff", "--cached", "--name-only", base, environment=ours).stdout
    if clean and _git(checkout, "rev-parse", "HEAD").stdout.strip() == base:
        refuse("nothing differs from HEAD: name the commit to begin from with --base")
    print("changed since " + _git(checkout, "log", "-1", "--format=%h %s", base).stdout.strip(), flush=True)
    return changed_lines(done.stdout)


def changed_lines(diff: str) -> dict[str, set[int]]:
    """Lines that a diff (without context) adds or changes, by file of the layers."""
    found: dict[str, set[int]] = {}
    file = ""
    for line in diff.splitlines():
        if line.startswith("+++ "):
            file = line.removeprefix("+++ ").removeprefix("b/").rstrip("\t")
        hunk = re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line)
        if hunk and file.split("/")[0] in LAYERS and not GENERATED.search(file):
            first, count = int(hunk[1]), int(hunk[2] or 1)
            found.setdefault(file, set()).update(range(first, first + count))
    return {file: lines for file, lines in found.items() if lines}


def _git(
    checkout: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(checkout), *arguments]
    env = {**os.environ, **(environment or {})}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def main(arguments: Sequence[str], script: Path) -> None:
    """Check all, and say which checkout and which lines are meant."""
    found = parsed(arguments)
    checkout = checkout_of(Path(found.root) if found.root is not None else script)
    changed = changes_since(checkout, found.base) if found.changed else {}
    if not options(found, checkout, changed).lines:
        print("nothing to mutate")
        return
    as_lists = {file: sorted(lines) for file, lines in changed.items()}
    os.write(3, f"{checkout}\n{json.dumps(as_lists)}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:], Path(__file__).resolve().parents[2])
