"""`python -m tests.prose [FILE ...]`: lists what breaks a rule; exit code 1 when there is any."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.prose import collection
from tests.prose.rules import broken


def main(names: list[str]) -> int:
    """List what breaks a rule in the named files, or in all."""
    files = [Path(name) for name in names]
    found = 0
    for passage in (each for file in files for each in collection.of(file)) if files else collection.everything():
        for rule, what in broken(passage):
            print(f"{passage.place}: {rule}: {what}")
            found += 1
    print(f"{found} found", file=sys.stderr)
    return found > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
