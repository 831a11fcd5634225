"""How many system tests failed when they last ran, as pytest remembers: tests/run asks before it tries them again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

REMEMBERED = Path(".pytest_cache/v/cache/lastfailed")


def count(remembered: Path = REMEMBERED) -> int:
    """Failed tests below tests/system; 0: none, or nothing is remembered."""
    if not remembered.exists():
        return 0
    return sum(name.startswith("tests/system/") for name in json.loads(remembered.read_text()))


if __name__ == "__main__":
    sys.stdout.write(f"{count()}\n")
