"""Runs a Python file as `python FILE` does, but under `-P`: `python -P python_runner.py FILE [ARGUMENT]...`.

`-P` keeps the current directory off `sys.path`, also in processes of `multiprocessing`. It leaves out the file's own
folder as well, which this program puts back. Standard library only, as the file shall see a fresh process.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType, TracebackType


def main() -> None:
    """Execute the file that the first argument names, as `__main__`."""
    del sys.argv[0]
    file = os.path.abspath(sys.argv[0])
    sys.path.insert(0, os.path.dirname(os.path.realpath(file)))
    module = ModuleType("__main__")
    module.__file__ = file
    sys.modules["__main__"] = module
    sys.excepthook = _print_exception
    with open(file, "rb") as source:
        code = compile(source.read(), file, "exec", dont_inherit=True)
    exec(code, module.__dict__)


def _print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an exception without the frames of this program."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)


if __name__ == "__main__":
    main()
