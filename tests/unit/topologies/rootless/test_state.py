"""The state directory of an ordinary user: where it is, and which folders are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hoverboard.contract.errors import MachineError
from topologies.rootless import state

MOUNTS = """\
22 1 0:20 / / rw,relatime - overlay overlay rw
35 22 {device} / /home rw,relatime shared:7 - {kind} server:/home rw
"""


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose /tmp is here, and whose user has no XDG_RUNTIME_DIR."""
    monkeypatch.setattr(state, "TMP", tmp_path)
    monkeypatch.setattr(state, "RUNTIME", tmp_path / "none")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return tmp_path


def test_without_a_runtime_directory_it_is_below_tmp(place: Path) -> None:
    assert state.default_dir() == place / f"hoverboard-{os.getuid()}"
    assert state.all_dirs() == [state.default_dir()]


def test_a_runtime_directory_of_the_user_alone_is_taken(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = place / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    below_tmp = place / f"hoverboard-{os.getuid()}"
    assert (state.default_dir(), state.default_dir(linger=True)) == (runtime / "hoverboard", below_tmp)
    assert state.all_dirs() == [runtime / "hoverboard"]
    below_tmp.mkdir(mode=0o755)  # somebody else may have made it
    assert state.all_dirs() == [runtime / "hoverboard"]
    below_tmp.chmod(0o700)
    assert state.all_dirs() == [runtime / "hoverboard", below_tmp]


def test_a_shell_without_the_variable_finds_the_runtime_directory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "RUNTIME", place)
    (place / str(os.getuid())).mkdir(mode=0o700)
    assert state.all_dirs() == [state.default_dir(), place / str(os.getuid()) / "hoverboard"]


@pytest.mark.parametrize("kind", ["missing", "relative", "readable by others", "a link", "a file"])
def test_another_runtime_directory_is_not(kind: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = place / "runtime"
    if kind == "a file":
        runtime.touch(mode=0o600)
    elif kind != "missing":
        (place / "real").mkdir(mode=0o700)
        runtime.symlink_to("real") if kind == "a link" else runtime.mkdir(mode=0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "runtime" if kind == "relative" else str(runtime))
    monkeypatch.chdir(place)
    assert state.default_dir().parent == place


def test_it_is_made_for_the_user_alone_and_may_be_there(place: Path) -> None:
    folder = place / "made"
    before = os.umask(0)
    try:
        state.make(folder)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    state.make(folder)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("open", "of this user alone"), ("link", "of this user alone"), ("file", "cannot be made"), ("deep", "above it")],
)
def test_a_folder_that_others_may_have_made_is_refused(kind: str, words: str, place: Path) -> None:
    folder = place / "there"
    if kind == "open":
        folder.mkdir()
        folder.chmod(0o777)
    elif kind == "link":
        (place / "real").mkdir(mode=0o700)
        folder.symlink_to("real")
    elif kind == "file":
        folder.touch()
    else:
        folder = folder / "below"
    with pytest.raises(MachineError, match=words) as caught:
        state.make(folder)
    assert caught.value.where == str(folder)
    assert "HOVERBOARD_STATE_DIR" in caught.value.next_step


@pytest.mark.parametrize("kind", ["nfs4", "9p", "ext4"])
def test_a_network_file_system_is_refused(kind: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = place.stat().st_dev
    mounts = place / "mountinfo"
    mounts.write_text(MOUNTS.format(device=f"{os.major(device)}:{os.minor(device)}", kind=kind))
    assert state.file_system(place, mounts) == kind
    monkeypatch.setattr(state, "file_system", lambda folder: kind)
    if kind == "ext4":
        state.make(place / "there")
        return
    with pytest.raises(MachineError, match=f"{kind}, a network file system"):
        state.make(place / "there")


def test_a_file_system_that_mountinfo_lacks_has_no_name(place: Path) -> None:
    mounts = place / "mountinfo"
    mounts.write_text("22 1 250:250 / / rw - ext4 /dev/x rw\n")
    assert state.file_system(place, mounts) == ""
