"""`bootstrap.sh uninstall` removes what bootstrap has made, and nothing beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = "openvswitch-switch\nmininet\nmininet\n"
MARK = "made-by-bootstrap"
RUN_IN = "#!/bin/sh\n# Runs a command of Hoverboard's environment: /a/bin/run-in COMMAND ARGUMENTS...\n"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with what bootstrap leaves: `prefix` and `bin`."""
    prefix, commands = tmp_path / "prefix", tmp_path / "bin"
    for folder in (prefix / "venv/bin", prefix / "bin", commands):
        folder.mkdir(parents=True)
    for name in (MARK, "installed", "requirements.txt", "checkout", "compiled", "set-up-seconds"):
        (prefix / name).write_text("x\n")
    (prefix / "bin/run-in").write_text(RUN_IN)
    (prefix / "venv/pyvenv.cfg").write_text("home = /usr/bin\n")
    (prefix / "debian-packages").write_text(PACKAGES)
    (commands / "hoverboard").write_text(f'#!/bin/sh\nexec "{prefix}/venv/bin/hoverboard" "$@"\n')
    (commands / "other").write_text("another's\n")
    return tmp_path


def bootstrap(folder: Path, *words: str, prefix: str = "", commands: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "HOVERBOARD_PREFIX": prefix or str(folder / "prefix"), "HOVERBOARD_BIN": commands or str(folder / "bin"),
        "HOVERBOARD_LOG": str(folder / "log"), "HOVERBOARD_STATE_DIR": str(folder / "state"),
        "HOVERBOARD_LOCK": f"{folder}.lock",
    }  # fmt: skip
    return subprocess.run(
        [ROOT / "bootstrap.sh", *words], env=environment, cwd=folder, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip


def uninstall(folder: Path, *words: str, prefix: str = "", commands: str = "") -> subprocess.CompletedProcess[str]:
    return bootstrap(folder, "uninstall", *words, prefix=prefix, commands=commands)


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


# -- folders of others --------------------------------------------------------------------------------


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A home folder with a virtual environment of another project, and a file with a name that bootstrap uses too."""
    home = tmp_path / "prefix"
    for folder in (home / "venv/bin", home / "bin"):
        folder.mkdir(parents=True)
    for name in ("checkout", "debian-packages", "venv/pyvenv.cfg", "venv/bin/python"):
        (home / name).write_text("another's\n")
    return tmp_path


@pytest.mark.parametrize("action", ["uninstall", "demo"])
def test_a_virtual_environment_of_another_project_is_left_alone(foreign: Path, action: str) -> None:
    before = left(foreign)
    done = bootstrap(foreign, action)
    assert done.returncode == 1
    assert "not made by this script" in done.stderr
    assert left(foreign) - {"log"} == before


def test_an_environment_from_before_there_was_a_mark_is_removed(installed: Path) -> None:
    (installed / "prefix" / MARK).unlink()
    (installed / "prefix/venv/lib/python3.11/site-packages/hoverboard-0.1.0.dist-info").mkdir(parents=True)
    assert uninstall(installed).returncode == 0
    assert left(installed) == {"bin/other"}


def test_an_environment_without_a_mark_and_without_hoverboard_stays(installed: Path) -> None:
    (installed / "prefix" / MARK).unlink()
    before = left(installed)
    assert uninstall(installed).returncode == 1
    assert left(installed) == before


# -- bootstraps and removals that were cut short -------------------------------------------------------


def test_a_removal_that_was_cut_short_can_be_repeated(installed: Path) -> None:
    shutil.rmtree(installed / "prefix/venv")
    (installed / "prefix/debian-packages").unlink()
    assert uninstall(installed).returncode == 0
    assert left(installed) == {"bin/other"}
    assert not (installed / "prefix").exists()


def test_files_that_a_killed_bootstrap_was_writing_are_removed(installed: Path) -> None:
    (installed / "prefix/bin/run-in.new").write_text(RUN_IN[:20])
    (installed / "bin/hoverboard").rename(installed / "bin/hoverboard.new")
    assert uninstall(installed).returncode == 0
    assert left(installed) == {"bin/other"}
    assert not (installed / "prefix").exists()


def test_a_bootstrap_that_was_cut_short_at_once_is_removed(tmp_path: Path) -> None:
    (tmp_path / "prefix").mkdir()
    (tmp_path / "prefix" / MARK).write_text("")
    assert uninstall(tmp_path).returncode == 0
    assert not (tmp_path / "prefix").exists()


def test_an_empty_folder_is_removed(tmp_path: Path) -> None:
    (tmp_path / "prefix").mkdir()
    assert uninstall(tmp_path).returncode == 0
    assert not (tmp_path / "prefix").exists()


# -- other ways to name the folders --------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["{}/prefix/", "prefix", "./bin/../prefix", "{}//prefix"])
def test_the_prefix_may_be_spelled_differently(installed: Path, prefix: str) -> None:
    done = uninstall(installed, prefix=prefix.format(installed), commands="bin/")
    assert (done.returncode, done.stderr) == (0, "")
    assert left(installed) == {"bin/other"}


@pytest.mark.parametrize("command", ["{}/prefix//venv", "{}/link/venv"])
def test_the_command_may_spell_the_prefix_differently(installed: Path, command: str) -> None:
    (installed / "link").symlink_to(installed / "prefix")
    (installed / "bin/hoverboard").write_text(f'#!/bin/sh\nexec "{command.format(installed)}/bin/hoverboard" "$@"\n')
    assert uninstall(installed).returncode == 0
    assert not (installed / "bin/hoverboard").exists()


def test_a_prefix_that_is_a_link(installed: Path) -> None:
    (installed / "prefix").rename(installed / "disk")
    (installed / "prefix").symlink_to(installed / "disk")
    done = uninstall(installed)
    assert (done.returncode, done.stderr) == (0, "")
    assert left(installed) == {"bin/other", "prefix"}
    assert not (installed / "disk").exists()
    assert f"the link {installed}/prefix stays" in done.stdout
    assert uninstall(installed).returncode == 0


def test_folders_of_the_prefix_that_are_links(installed: Path) -> None:
    for name in ("bin", "venv"):
        (installed / "prefix" / name).rename(installed / f"other-{name}")
        (installed / "prefix" / name).symlink_to(installed / f"other-{name}")
    done = uninstall(installed)
    assert (done.returncode, done.stderr) == (0, "")
    assert left(installed) == {"bin/other"}
    assert (installed / "prefix/bin").is_symlink()
    assert f"{installed}/prefix holds other files and stays" in done.stdout
    assert not (installed / "other-venv").exists()
    assert not list((installed / "other-bin").iterdir())


def test_the_command_may_be_in_the_prefix(installed: Path) -> None:
    (installed / "bin/hoverboard").rename(installed / "prefix/bin/hoverboard")
    done = uninstall(installed, commands=f"{installed}/prefix/bin")
    assert (done.returncode, done.stderr) == (0, "")
    assert left(installed) == {"bin/other"}
    assert not (installed / "prefix").exists()
    assert "holds other files" not in done.stdout
