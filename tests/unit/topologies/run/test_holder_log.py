"""The holder's log: whatever a module says, Mininet's included, is one whole line with a time, and there once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import logging, sys
from pathlib import Path
from topologies.run import holder
holder.log_to(Path(sys.argv[1]))
mininet = logging.getLogger("mininet")
mininet.error("*** Error: h1 has execed and cannot accept commands")
mininet.warning("(h1 exited - ignoring cmd)\\n")
mininet.info("h1 ")
logging.getLogger("topologies.processes.supervisor").info("%s is back", "h1")
print("from somebody's print", end="")
logging.getLogger("a.b").warning("one\\ntwo\\n")
print(" goes on")
print("to stderr", file=sys.stderr)
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("a.b").exception("failed")
"""
LINES = [
    r"TIME mininet ERROR \*\*\* Error: h1 has execed and cannot accept commands",
    r"TIME mininet WARNING \(h1 exited - ignoring cmd\)",
    r"TIME topologies\.processes\.supervisor INFO h1 is back",
    r"TIME a\.b WARNING one",
    r"two",
    r"from somebody's print goes on",
    r"to stderr",
    r"TIME a\.b ERROR failed",
    r"Traceback \(most recent call last\):",
    r'  File "<string>", line \d+, in <module>',
    r"ZeroDivisionError: division by zero",
]


def test_each_line_of_the_holder_s_log_ends_in_a_newline(tmp_path: Path) -> None:
    path = tmp_path / "holder.log"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = path.read_text()
    assert text.endswith("\n")
    pattern = "\n".join(LINES).replace("TIME", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}")
    assert re.fullmatch(pattern, text.removesuffix("\n")), text
