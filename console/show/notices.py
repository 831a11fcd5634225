"""Prints warnings of names without a match. They go to stderr: stdout may be the document of `--json`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hoverboard.contract.documents import Warned


def show_warnings(found: Iterable[Warned]) -> None:
    """Print each warning with its place and its next step."""
    for one in found:
        print(f"warning: {one['where']}: {one['what']}\n  -> {one['next_step']}", file=sys.stderr)


def count_warnings(number: int) -> str:
    """The end of a line that would otherwise say that all is well."""
    return f"{number} warning{'s' if number != 1 else ''}, see above"
