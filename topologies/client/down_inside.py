"""Takes runs down inside the namespaces of an ordinary user's run: `python -m topologies.client.down_inside RUN`.

With `--orphans` instead of a name, it ends all orphans there. `user_runs` starts it, and looks at what is left.
"""

from __future__ import annotations

import sys

from hoverboard.contract.errors import HoverboardError
from topologies.client import orphans, run_client


def main(argv: list[str]) -> int:
    """Take down what the arguments name; return the exit code."""
    try:
        if argv == ["--orphans"]:
            for one in orphans.find():
                orphans.end(one)
        else:
            run_client.down(argv[0], missing_ok=True)
    except HoverboardError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
