"""Commands of Open vSwitch that write down what they are called with, and answer as the test says."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest


class FakeCommands:
    """A directory at the front of PATH.

    Args:
        directory: an empty one.
    """

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self._directory = directory
        patch.setenv("PATH", f"{directory}:/usr/bin:/bin")

    def put(self, name: str, output: str = "", *, error: str = "", code: int = 0, then: str = "") -> None:
        """Make a command, or have it answer otherwise from now on.

        Args:
            then: shell text to run after the answer.
        """
        log, inputs = shlex.quote(str(self._log(name))), shlex.quote(str(self._inputs(name)))
        for suffix, text in (("out", output), ("err", error)):
            (self._directory / f"{name}.{suffix}").write_text(text)
        here = shlex.quote(str(self._directory / name))
        script = self._directory / name
        draft = script.with_suffix(".draft")
        draft.write_text(
            "#!/bin/sh\n"
            f"printf '%s\\037' \"$@\" >>{log}; printf '\\036' >>{log}\n"
            f'case "$*" in *" -") cat >>{inputs};; esac\n'
            f"cat {here}.out; cat {here}.err >&2\n"
            f"{then}\nexit {code}\n"
        )
        draft.chmod(0o755)
        draft.replace(script)

    def calls(self, name: str) -> list[list[str]]:
        """The arguments of each call since the last time."""
        log = self._log(name)
        if not log.exists():
            return []
        text = log.read_text()
        log.unlink()
        return [call.split("\x1f")[:-1] for call in text.split("\x1e")[:-1]]

    def given(self, name: str) -> str:
        """What it read from its standard input since the last time, where its last argument is "-"."""
        inputs = self._inputs(name)
        if not inputs.exists():
            return ""
        text = inputs.read_text()
        inputs.unlink()
        return text

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _inputs(self, name: str) -> Path:
        return self._directory / f"{name}.in"
