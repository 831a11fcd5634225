"""`python -m tests.prose [FILE ...]`: lists what breaks a rule; exit code 1 when there is any, 2 for a wrong file."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.prose import collection
from tests.prose.rules import broken


def main(names: list[str]) -> int:
    """List what breaks a rule in the named files, or in all."""
    try:
        named = [passage for name in names for passage in collection.of(Path(name))]
    except (ValueError, SyntaxError) as error:
        print(f"tests.prose: {error}", file=sys.stderr)
        return 2
    found = 0
    for passage in named if names else collection.everything():
        for rule, what in broken(passage):
            print(f"{passage.place}: {rule}: {what}")
            found += 1
    print(f"{found} found", file=sys.stderr)
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
