"""Runs a Python file or module under `-P`: `python -P python_runner.py FILE|-m MODULE [ARGUMENT]...`.

`-P` keeps the current directory off `sys.path`, also in processes of `multiprocessing`. It leaves out the folder of the
file too, which this program adds. For a module it adds Hoverboard's own folder, where `benchmarks` is. It uses the
standard library only, so that the file starts in a fresh process.
"""

from __future__ import annotations

import os
import runpy
import sys
from types import CodeType, ModuleType, TracebackType

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_OWN_FRAMES = (__file__, "<frozen runpy>")


def main() -> None:
    """Execute the file or module that the first arguments name, as `__main__`."""
    sys.excepthook = _print_exception
    del sys.argv[0]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        sys.path.append(_ROOT)
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        _run_file(sys.argv[0])


def _run_file(name: str) -> None:
    file = os.path.abspath(name)
    sys.path.insert(0, os.path.dirname(os.path.realpath(file)))
    module = ModuleType("__main__")
    module.__file__ = file
    sys.modules["__main__"] = module
    with open(file, "rb") as source:
        text = source.read()
    exec(_compile(text, file), module.__dict__)


def _compile(text: bytes, file: str) -> CodeType:
    """The code of a file; SyntaxError, with the file and a line, when it is no Python."""
    try:
        return compile(text, file, "exec", dont_inherit=True)
    except ValueError as error:  # a null byte; Python 3.12 raises a SyntaxError
        raise SyntaxError(str(error), (file, text[: text.find(0)].count(b"\n") + 1, None, None)) from None


def _print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an exception without the frames of this program.

    An exception that has no other frames is of this program or of runpy. Its message says all, so that exceptions
    which led to it are not printed.
    """
    while trace is not None and trace.tb_frame.f_code.co_filename in _OWN_FRAMES:
        trace = trace.tb_next
    if trace is None:
        error.__cause__, error.__suppress_context__ = None, True
    sys.__excepthook__(kind, error.with_traceback(trace), trace)


if __name__ == "__main__":
    main()
