"""The command line of `tests/mutate`: survivors and counts to standard output, progress to standard error."""

from __future__ import annotations

import importlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.mutation import equivalent, verdicts
from tests.mutation.apart import Apart
from tests.mutation.arguments import Options, options, parsed
from tests.mutation.choosing import Choice, imports_of
from tests.mutation.covering import file_of
from tests.mutation.mutants import Mutant, mutants
from tests.mutation.patching import Loaded
from tests.mutation.session import Session, collect
from tests.mutation.verdicts import HUNG, LISTED, NOT_RUN, PASSED, SURVIVED, UNCLEAR

# Time that a fresh process has for loading, beside its tests, and when it is tried again. With compiled code, Numba
# takes a minute, and more of them on a busy machine.
LOAD_SECONDS = (60, 300)
COMPILE_SECONDS = (200, 600)


def main(arguments: Sequence[str]) -> int:
    checkout = Path.cwd().resolve()
    found = parsed(arguments)
    kept = checkout / ".mutation" / "changes"  # by `tests/mutate`
    changed = json.loads(kept.read_text()) if found.changed else {}
    chosen = options(found, checkout, {file: set(lines) for file, lines in changed.items()})
    apart = Apart(checkout)
    # Its list of fonts takes seconds to make, and would be made again for each mutant.
    importlib.import_module("matplotlib.font_manager")
    return collect(["tests/unit"], checkout, lambda session: Plan(session, apart, checkout, chosen).run())


class Plan:
    """Runs the mutants of all chosen modules, and reports."""

    def __init__(self, session: Session, apart: Apart, checkout: Path, options: Options) -> None:
        self._session = session
        self._apart = apart
        self._checkout = checkout
        self._options = options
        self._covering = session.covering(_progress)
        self._imports = imports_of({file_of(test) for test in self._covering.runs}, checkout)
        self._tests = [test for test in session.tests if test in self._covering.runs]
        self._loaded = Loaded()
        self._equivalent = equivalent.read(checkout / "tests" / "mutation" / "equivalent.toml")

    def run(self) -> int:
        survivors = 0
        for file, lines in self._options.lines.items():
            survivors += self._module(file, lines)
        return 1 if survivors else 0

    def _module(self, file: str, lines: set[int] | None) -> int:
        source = (self._checkout / file).read_text(encoding="utf-8")
        texts = source.splitlines()
        excuses = verdicts.Excuses(equivalent.of_file(self._equivalent, file))
        chosen = [mutant for mutant in mutants(source) if lines is None or mutant.line in lines]
        whole = lines is None
        if self._options.sample and len(chosen) > self._options.sample:
            whole = False
            chosen = sorted(
                random.Random(f"{self._options.seed} {file}").sample(chosen, self._options.sample),
                key=lambda each: each.start,
            )
        choice = Choice(file, self._tests, self._covering, self._imports)
        counts: Counter[str] = Counter()
        began = time.monotonic()
        for index, mutant in enumerate(chosen):
            if index % 50 == 0 and index:
                _progress(f"{file}: {index} of {len(chosen)}, {time.monotonic() - began:.0f} s")
            outcome, detail = self._mutant(file, source, mutant, choice)
            if outcome in (SURVIVED, NOT_RUN) and excuses.take(texts[mutant.line - 1], mutant.change):
                outcome = LISTED
            counts[outcome] += 1
            if outcome in (HUNG, *verdicts.BAD):
                print(f"{file}:{mutant.line}: {mutant.kind}: {mutant.change}   [{outcome}{detail}]", flush=True)
        stale = excuses.unused() if whole else []
        for line, change in stale:
            print(f"{file}: listed, but a test notices it (or it is gone): {line}: {change}", flush=True)
        summary = ", ".join(f"{counts[name]} {name}" for name in verdicts.COUNTED if counts[name])
        took = time.monotonic() - began
        print(f"{file}: {len(chosen)} mutants: {summary or 'none'}; {took:.0f} s", flush=True)
        return sum(counts[name] for name in verdicts.BAD) + len(stale)

    def _mutant(self, file: str, source: str, mutant: Mutant, choice: Choice) -> tuple[str, str]:
        first = choice.first(mutant)
        total = 0.0
        ran = 0
        for tests in (first, choice.more(mutant, first)):
            tests, seconds = choice.within(tests, self._options.seconds)
            if not tests or (ran and total + seconds > self._options.seconds):
                continue
            verdict = self._try(file, source, mutant, choice, tests, seconds)
            if verdict != PASSED:
                return verdict, ""
            ran, total = ran + len(tests), total + seconds
        if mutant.function and not mutant.compiled:
            # A test file may have called the function while it was loaded: the mutant comes too late for that.
            tests, seconds = choice.within(choice.own(), self._options.seconds)
            if tests:
                verdict = self._try_apart(file, source, mutant, choice, tests, seconds)
                if verdict != PASSED:
                    return verdict, ""
        if not first:
            return NOT_RUN, ""
        left = len(first) - ran
        return SURVIVED, f" {ran} tests of {total:.1f} s" + (f", {left} slow ones not tried" if left > 0 else "")

    def _try(self, file: str, source: str, mutant: Mutant, choice: Choice, tests: Sequence[str], seconds: float) -> str:
        path = self._checkout / file
        if mutant.function and not mutant.compiled:

            def patch() -> bool:
                return self._loaded.patch(path, mutant, source)

            verdict = verdicts.judged(
                lambda limit: self._session.run(tests, limit, patch), (5 + 3 * seconds, 60 + 10 * seconds)
            )
            if verdict != UNCLEAR:
                return verdict
        return self._try_apart(file, source, mutant, choice, tests, seconds)

    def _try_apart(
        self, file: str, source: str, mutant: Mutant, choice: Choice, tests: Sequence[str], seconds: float
    ) -> str:
        path, text = self._checkout / file, mutant.apply(source)
        once, again = COMPILE_SECONDS if choice.compiles(mutant, tests) else LOAD_SECONDS
        return verdicts.judged(
            lambda limit: self._apart.run(path, text, tests, limit),
            (once + 3 * seconds, again + 10 * seconds),
        )


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
