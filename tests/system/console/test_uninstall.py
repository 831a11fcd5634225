"""`bootstrap.sh uninstall` removes what bootstrap has made, and nothing beside it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = "openvswitch-switch\nmininet\nmininet\n"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with what bootstrap leaves: `prefix` and `bin`."""
    prefix, commands = tmp_path / "prefix", tmp_path / "bin"
    for folder in (prefix / "venv/bin", prefix / "bin", commands):
        folder.mkdir(parents=True)
    for name in ("installed", "requirements.txt", "checkout", "compiled", "set-up-seconds", "bin/run-in"):
        (prefix / name).write_text("x\n")
    (prefix / "venv/pyvenv.cfg").write_text("home = /usr/bin\n")
    (prefix / "debian-packages").write_text(PACKAGES)
    (commands / "hoverboard").write_text(f'#!/bin/sh\nexec "{prefix}/venv/bin/hoverboard" "$@"\n')
    (commands / "other").write_text("another's\n")
    return tmp_path


def uninstall(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "HOVERBOARD_PREFIX": str(folder / "prefix"), "HOVERBOARD_BIN": str(folder / "bin"),
        "HOVERBOARD_LOG": str(folder / "log"), "HOVERBOARD_STATE_DIR": str(folder / "state"),
    }  # fmt: skip
    return subprocess.run(
        [ROOT / "bootstrap.sh", "uninstall", *words], env=environment, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip


def left(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_what_bootstrap_made_is_removed_and_debian_packages_are_named(installed: Path) -> None:
    done = uninstall(installed)
    assert (done.returncode, done.stderr) == (0, "")
    assert left(installed) == {"bin/other"}
    assert not (installed / "prefix").exists()
    assert "sudo apt-get remove mininet openvswitch-switch\n" in done.stdout


def test_it_may_be_repeated(installed: Path) -> None:
    uninstall(installed)
    done = uninstall(installed)
    assert done.returncode == 0
    assert f"there is no {installed}/prefix" in done.stdout
    assert "Debian packages stay: mininet openvswitch-switch iperf3" in done.stdout


def test_files_of_others_stay(installed: Path) -> None:
    (installed / "prefix/bin/mine").write_text("mine\n")
    (installed / "bin/hoverboard").write_text("another program of that name\n")
    done = uninstall(installed)
    assert done.returncode == 0
    assert left(installed) == {"prefix/bin/mine", "bin/hoverboard", "bin/other"}
    assert f"{installed}/prefix holds other files and stays" in done.stdout


def test_a_folder_that_bootstrap_did_not_make_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "prefix").mkdir()
    (tmp_path / "prefix/installed").write_text("another's\n")
    done = uninstall(tmp_path)
    assert done.returncode == 1
    assert "was not made by this script" in done.stderr
    assert left(tmp_path) == {"prefix/installed"}


def test_nothing_is_removed_under_a_run(installed: Path) -> None:
    (installed / "state/a").mkdir(parents=True)
    (installed / "state/a/ledger.jsonl").write_text("")
    before = left(installed)
    done = uninstall(installed)
    assert done.returncode == 1
    assert "sudo hoverboard down --all" in done.stderr
    assert left(installed) == before


def test_it_takes_no_option(installed: Path) -> None:
    assert uninstall(installed, "--ha").returncode == 2
    assert (installed / "prefix/installed").exists()
