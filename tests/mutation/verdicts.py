"""What became of one mutant: how the end of a run of tests is judged, and which survivors the list excuses. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from tests.mutation.equivalent import Equivalent

PASSED, KILLED, HUNG, SURVIVED, LISTED = "passed", "killed", "hung", "survived", "listed"
NOT_RUN, UNCLEAR = "not run", "unclear"
# What the last line of a module tells, in this order, and what of it makes the exit code 1.
COUNTED = (KILLED, HUNG, SURVIVED, NOT_RUN, UNCLEAR, LISTED)
BAD = (SURVIVED, NOT_RUN, UNCLEAR)
# Exit codes of pytest that say nothing about a mutant: an error of its own, and that there was no test. (4 says that
# a named test is not there: all were there before, so their file was not loaded.)
INTERNAL_ERROR, NO_TESTS = 3, 5
# The mutant was not put in place: it does not fit into the process.
UNFIT = 69


def of_code(code: int) -> str:
    """PASSED, KILLED or UNCLEAR, by the exit code of the process that ran tests (below 0: a signal ended it)."""
    if code == 0:
        return PASSED
    return UNCLEAR if code in (INTERNAL_ERROR, NO_TESTS, UNFIT) else KILLED


def judged(run: Callable[[float], int | None], limits: Sequence[float]) -> str:
    """Run with the first limit, in seconds, and after a time-out with the next: a busy machine kills no mutant.

    Args:
        run: gives an exit code; None when the time was up.

    Returns:
        as `of_code`, or HUNG when no limit was enough.
    """
    for limit in limits:
        code = run(limit)
        if code is not None:
            return of_code(code)
    return HUNG


class Excuses:
    """The listed survivors of one module. Each entry excuses one."""

    def __init__(self, entries: Iterable[Equivalent]) -> None:
        self._left = Counter((entry.line, entry.change) for entry in entries)

    def take(self, line: str, change: str) -> bool:
        """Whether an entry is left for a survivor; it is used up."""
        key = (line.strip(), change)
        if not self._left[key]:
            return False
        self._left[key] -= 1
        return True

    def unused(self) -> list[tuple[str, str]]:
        """Line and change of each entry that excused nothing."""
        return sorted(self._left.elements())
