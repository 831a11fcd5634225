"""Modules that another user has planted where root stands, and in a home folder: no command imports them.

Each notes its name when it is imported. `HOME` is theirs too, as with a sudo that keeps it.
"""

from __future__ import annotations

import os
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.runs.conftest import TINY

ROOT = Path(__file__).parents[3]
NAMES = (
    "argparse", "asyncio", "configparser", "console", "controllers", "dask", "distributed", "experiments", "grpc",
    "hoverboard", "json", "jinja2", "matplotlib", "mininet", "numba", "numpy", "ovs", "pip", "pydantic", "random",
    "setuptools", "sitecustomize", "tempfile", "topologies", "typer", "typing_extensions", "usercustomize", "venv",
    "yaml",
)  # fmt: skip
PROGRAM = "import json, sys, mininet.net, numpy, topologies\nprint('program', json.__file__ != '')\n"
pytestmark = pytest.mark.timeout(400)


class Trap:
    """A folder with planted modules, in which commands are typed.

    Attributes:
        folder: where root stands.
        environment: of the commands.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._noted = folder, folder.parent / "imported"
        home = folder / "home"
        user_site = home / Path(site.getusersitepackages()).relative_to(Path.home())
        for place in (folder, user_site):
            place.mkdir(parents=True)
            for name in NAMES:
                (place / f"{name}.py").write_text(f"open({str(self._noted)!r}, 'a').write('{place}/{name}\\n')\n")
        (user_site / "planted.pth").write_text("import usercustomize\n")
        # Numba would take its cache, which is code, from there.
        (folder / ".numba_config.yaml").write_text(f"cache_dir: {folder}/numba\n")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self.environment = kept | {"PYTHONPATH": str(ROOT), "HOME": str(home)}

    def type(self, *argv: str, stdin: str = "", code: int | None = 0, **variables: str) -> str:
        """Type a command, and return what it printed."""
        done = subprocess.run(
            argv, cwd=self.folder, env=self.environment | variables, input=stdin, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert code is None or done.returncode == code, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def hoverboard(self, *words: str, stdin: str = "", code: int | None = 0) -> str:
        """Type a command as the wrapper passes it on, but with the code of this checkout."""
        return self.type(sys.executable, "-P", "-s", "-m", "console.cli", *words, stdin=stdin, code=code)

    def imported(self) -> list[str]:
        """The planted modules that were imported."""
        return self._noted.read_text().splitlines() if self._noted.exists() else []


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    made = Trap(tmp_path / "theirs")
    yield made
    assert made.imported() == []
    assert not (made.folder / "numba").exists()


def test_the_trap_works(tmp_path: Path) -> None:
    made = Trap(tmp_path / "theirs")
    made.type(sys.executable, "-c", "import json")
    made.type("/usr/bin/python3", "-P", "-c", "")
    assert f"{made.folder}/json" in made.imported()
    assert any(line.endswith("/site-packages/usercustomize") for line in made.imported())


def test_every_verb(trap: Trap, state: Path, run_name: str) -> None:
    (trap.folder / "tiny.yaml").write_text(TINY)
    (trap.folder / "program.py").write_text("")
    own = trap.folder.parent / "own"
    own.mkdir()
    (own / "program.py").write_text(PROGRAM)
    run = ("--run", run_name)
    trap.hoverboard("up", "tiny.yaml", "--check")
    trap.hoverboard("up", "tiny.yaml", *run, "--detach")
    for line in (
        "status", "status h1 --json", "flows h1", "offloads", "model show", "vm list", "vm add blue blue-9",
        "latency h1 --seconds 0.1", "apply tiny.yaml --dry-run", "capture h1 -w x.pcapng --seconds 0.1",
        "vm remove blue-9",
    ):  # fmt: skip
        trap.hoverboard(*line.split(), *run)
    trap.hoverboard("exec", "blue-1", *run, "--", "ping", "-c", "1", "10.0.0.1")
    for line in ("doctor", "experiment list", "--version", "python -m benchmarks.engine --help"):
        trap.hoverboard(*line.split(), code=None)
    assert trap.hoverboard("python", str(own / "program.py")) == "program True\n"
    trap.hoverboard("down", *run)


def test_a_run_in_the_foreground(trap: Trap, state: Path, run_name: str) -> None:
    (trap.folder / "tiny.yaml").write_text(TINY)
    trap.hoverboard("up", "tiny.yaml", "--run", run_name, stdin="status\nh1 true\nexit\n")


def test_processes_of_experiments(trap: Trap, state: Path) -> None:
    small = ("models=hoverboard", "hosts=2", "sizes=1", "large=100", "large_hosts=2")
    settings = [word for one in small for word in ("--set", one)]
    trap.hoverboard("experiment", "run", "programming-time", "--repeat", "1", "--out", "results", *settings)
    trap.hoverboard("experiment", "report", "results")
    trap.hoverboard("experiment", "worker", "tcp://127.0.0.1:9", code=None)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_demo(trap: Trap, state: Path, run_name: str) -> None:
    trap.hoverboard("demo", "--run", run_name, "--out", "results")


def test_the_wrapper(trap: Trap, tmp_path: Path) -> None:
    wrapper = tmp_path / "hoverboard"
    text = (
        (ROOT / "bootstrap.sh").read_text().partition('write_if_new "$BIN/hoverboard" <<EOF\n')[2].partition("EOF\n")[0]
    )
    wrapper.write_text(text.replace("$VENV", sys.prefix).replace("\\$", "$"))
    wrapper.chmod(0o755)
    bad = {"PYTHONPATH": str(trap.folder), "PYTHONSTARTUP": str(trap.folder / "json.py"), "PYTHONINSPECT": "1"}
    assert "hoverboard" in trap.type(str(wrapper), "--version", **bad)
    assert "up" in trap.type(str(wrapper), "--help", **bad)


def test_bootstrap_called_by_its_path(trap: Trap, tmp_path: Path) -> None:
    """It makes the environment, and asks pip, which gets no answer from this proxy."""
    places = {
        "HOVERBOARD_PREFIX": "prefix",
        "HOVERBOARD_BIN": "bin",
        "HOVERBOARD_LOG": "log",
        "HOVERBOARD_LOCK": "lock",
        "HOVERBOARD_STATE_DIR": "state",
    }
    given = {name: str(tmp_path / place) for name, place in places.items()}
    dead = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY", "PIP_PROXY"), "http://127.0.0.1:9")
    said = trap.type(str(ROOT / "bootstrap.sh"), "demo", code=1, **given, **dead)
    assert "making a virtual environment" in said
    assert "installing Python packages" in said
    assert (tmp_path / "prefix/venv/bin/python").exists()
    trap.type(str(ROOT / "bootstrap.sh"), "uninstall", **given)
    assert not (tmp_path / "prefix").exists()
