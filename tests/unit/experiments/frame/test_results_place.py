"""Where results go: looked at before anything is measured, and the error when they cannot be written later."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments.frame import results_place
from experiments.frame.results_place import check_file, check_folder, writing
from hoverboard.contract.errors import InputError, MachineError
from hoverboard.safe_files import write_file


def test_a_folder_that_can_be_made_or_is_there_is_fine_and_nothing_is_made(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b", 1)
    check_folder(tmp_path, 1)
    check_file(tmp_path / "a" / "b.json")
    assert list(tmp_path.iterdir()) == []


def test_a_relative_folder_is_looked_at_below_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_folder(Path("results/x"), 1)
    (tmp_path / "results").touch()
    with pytest.raises(InputError, match="results is a file, not a folder"):
        check_folder(Path("results/x"), 1)


@pytest.mark.parametrize("path", ["file", "file/below", "broken/link"])
def test_a_file_in_the_way_is_told(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "broken").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"--out: .* is a file, not a folder\n  -> give another --out"):
        check_folder(tmp_path / path, 1)


def test_a_folder_in_the_way_of_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder, not a file"):
        check_file(tmp_path)


def test_too_little_space_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=7 << 10, f_frsize=1024))
    check_folder(tmp_path / "out", 7)
    with pytest.raises(MachineError, match=r"out: only 7 MiB free, and the results may need 8 MiB\n  -> make room"):
        check_folder(tmp_path / "out", 8)


class Disk:
    """Stands in for `tempfile`: fails when a file is made, or when it is written."""

    def __init__(self, code: int, *, at: str) -> None:
        self.code, self.at = code, at
        self.folders: list[Path] = []

    def TemporaryFile(self, *, dir: Path) -> Disk:  # noqa: A002, N802
        self.folders.append(dir)
        return self._do("make")

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, data: bytes) -> None:
        assert len(data) >= 1 << 16, "enough that a full disk shows"
        self._do("write")

    def _do(self, what: str) -> Disk:
        if what == self.at:
            raise OSError(self.code, os.strerror(self.code))
        return self


@pytest.mark.parametrize(("code", "at", "why"), [
    (errno.EROFS, "make", "read-only file system"), (errno.EDQUOT, "write", "disk quota exceeded"),
])  # fmt: skip
def test_a_place_that_takes_no_file_is_told(
    code: int, at: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The space that statvfs tells says nothing of a quota: only writing does."""
    disk = Disk(code, at=at)
    monkeypatch.setattr(results_place, "tempfile", disk)
    with pytest.raises(MachineError, match=rf"out: cannot be written: {why}\n  -> give another --out"):
        check_folder(tmp_path / "out", 1)
    assert disk.folders == [tmp_path]


def test_an_error_of_writing_names_the_file_and_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(MachineError) as told, writing(tmp_path, lambda: "make room"):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "x.json"))
    assert str(told.value) == f"{tmp_path}/x.json: cannot be written: no space left on device\n  -> make room"
    with pytest.raises(MachineError, match=str(tmp_path)), writing(tmp_path, lambda: "make room"):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")  # write() names no file


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of another user, for root."""
    if os.geteuid() != 0:
        pytest.skip("another user's folder can only be made by root")
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    return folder


@pytest.mark.parametrize("below", [".", "new/below"])
def test_a_folder_that_root_writes_nothing_into_is_told_before_the_measurement(theirs: Path, below: str) -> None:
    with pytest.raises(InputError, match="belongs to user 12345"):
        check_folder(theirs / below, 1)
    with pytest.raises(InputError, match="belongs to user 12345"):
        check_file(theirs / below / "x.json")
    assert list(theirs.iterdir()) == []


def test_a_folder_that_became_another_users_is_like_a_full_disk(theirs: Path) -> None:
    with (
        pytest.raises(MachineError, match=r"theirs: cannot be written: .* 12345\n  -> make room"),
        writing(theirs, lambda: "make room"),
    ):
        write_file(theirs, "x", "")


def test_other_errors_pass(tmp_path: Path) -> None:
    for error in (BrokenPipeError(errno.EPIPE, "Broken pipe"), OSError(errno.EINVAL, "Invalid"), InputError("x")):
        with pytest.raises(type(error)) as passed, writing(tmp_path, lambda: "make room"):
            raise error
        assert passed.value is error
