"""Files for people: whole or not there, through no link, in no folder of another, and for who called `sudo`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hoverboard import safe_files
from hoverboard.contract.errors import InputError
from hoverboard.safe_files import (
    Owner,
    caller,
    check_folder,
    make_folder,
    open_private,
    open_to_append,
    write_file,
    write_own_file,
)
from tests.unit.topologies.real_processes import open_files

STRANGER, STUDENT = 12345, 23456
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user's folder can only be made by root")


@pytest.fixture(autouse=True)
def nobody_called_sudo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without sudo's variables; afterwards no descriptor is left open."""
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)
    before = open_files()
    yield
    assert open_files() == before


@pytest.fixture
def student(monkeypatch: pytest.MonkeyPatch) -> None:
    """A student has called sudo."""
    monkeypatch.setenv("SUDO_UID", str(STUDENT))
    monkeypatch.setenv("SUDO_GID", str(STUDENT))


def owner(path: Path) -> int:
    return path.lstat().st_uid


def drafts(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir() if one.name.startswith(".hoverboard-")]


def test_a_file_is_written_and_written_again(tmp_path: Path) -> None:
    write_file(tmp_path / "a" / "b", "x.txt", "é")
    write_file(tmp_path / "a" / "b", "x.txt", b"2")
    assert (tmp_path / "a/b/x.txt").read_bytes() == b"2"
    assert drafts(tmp_path / "a/b") == []


def test_the_umask_decides_who_reads_a_result_and_not_who_reads_a_capture(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_file(tmp_path, "x", "")
        os.close(open_private(tmp_path / "y"))
        write_own_file(tmp_path, "z", "")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "xyz"] == [0o644, 0o600, 0o600]


@pytest.mark.parametrize("name", ["x", "sub"])
def test_a_link_is_replaced_and_not_followed(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (tmp_path / name).symlink_to(secret)
    write_file(tmp_path, name, "ours")
    assert (secret.read_text(), (tmp_path / name).read_text()) == ("secret", "ours")
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(secret)
    os.close(open_private(tmp_path / name))
    assert secret.read_text() == "secret"


def test_a_second_name_of_a_file_keeps_its_content(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    os.link(tmp_path / "secret", tmp_path / "x")
    write_file(tmp_path, "x", "ours")
    assert (tmp_path / "secret").read_text() == "secret"


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_text("before")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="no file that can be replaced"):
        write_file(tmp_path, "folder", "")
    monkeypatch.setattr(os, "rename", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        write_file(tmp_path, "x", "after")
    assert ((tmp_path / "x").read_text(), drafts(tmp_path)) == ("before", [])


def test_a_folder_is_checked_and_not_made(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    check_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="the system's"):
        check_folder(Path("/dev/missing"))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/x"])
def test_a_path_is_no_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        write_file(tmp_path, name, "")
    assert drafts(tmp_path) == []


@pytest.mark.parametrize("path", ["/dev/null", "/dev/hoverboard-x", "/proc/self/x", "/dev/fd/1"])
def test_files_of_the_system_are_not_replaced(path: str) -> None:
    with pytest.raises(InputError):
        os.close(open_private(Path(path)))
    assert Path("/dev/null").is_char_device()


def test_an_error_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError) as caught:
        write_file(tmp_path / "file" / "below", "x", "")
    assert caught.value.filename == str(tmp_path / "file" / "below")
    with pytest.raises(FileNotFoundError):
        open_private(tmp_path / "missing" / "x")


def test_lines_are_appended(tmp_path: Path) -> None:
    for word in (b"a", b"b"):
        with open_to_append(tmp_path / "new", "x") as file:
            file.write(word)
            file.flush()
            file.seek(0)
            assert file.read().endswith(word)
    assert (tmp_path / "new/x").read_bytes() == b"ab"


def test_nothing_is_appended_to_a_file_that_others_chose(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", tmp_path / "second")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "second", "pipe"):
        with pytest.raises(InputError):
            open_to_append(tmp_path, name)
    assert (tmp_path / "secret").read_text() == "secret"


# -- root, and who called sudo ------------------------------------------------------------------------


@pytest.mark.parametrize("uid", ["", "root", "-1", "1 2", "0x5", "4294967295", "99999999999", "1\n"])
def test_ids_that_are_no_numbers_do_not_count(monkeypatch: pytest.MonkeyPatch, uid: str) -> None:
    monkeypatch.setenv("SUDO_UID", uid)
    monkeypatch.setenv("SUDO_GID", "5")
    assert caller() == Owner(os.geteuid(), os.getegid())


def test_only_root_acts_for_another(monkeypatch: pytest.MonkeyPatch, student: None) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert caller() == Owner(STUDENT, STUDENT)
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    assert caller().uid == 7


@as_root
def test_what_sudo_makes_belongs_to_who_called_it(tmp_path: Path, student: None) -> None:
    write_file(tmp_path / "a/b", "x", "")
    os.close(open_private(tmp_path / "y"))
    open_to_append(tmp_path, "z").close()
    write_own_file(tmp_path, "ours", "")
    assert [owner(tmp_path / one) for one in ("a", "a/b", "a/b/x", "y", "z")] == [STUDENT] * 5
    assert (owner(tmp_path), owner(tmp_path / "ours")) == (0, 0)
    write_file(tmp_path / "a/b", "x", "in the student's own folder")
    open_to_append(tmp_path, "z").close()


def test_nothing_is_left_of_a_file_that_cannot_be_given_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_files, "caller", lambda: Owner(os.geteuid() + 1, STUDENT))
    monkeypatch.setattr(os, "fchown", lambda *_: (_ for _ in ()).throw(PermissionError(1, "not permitted")))
    for write in (lambda: open_to_append(tmp_path, "x"), lambda: write_file(tmp_path, "x", "")):
        with pytest.raises(PermissionError):
            write()
    assert os.listdir(tmp_path) == []


@as_root
def test_root_writes_into_no_folder_of_another(tmp_path: Path, student: None) -> None:
    folder = tmp_path / "theirs"
    (folder / "below").mkdir(parents=True)
    os.chown(folder, STRANGER, STRANGER)
    for write in (
        lambda: write_file(folder, "x", ""),
        lambda: make_folder(folder / "new"),
        lambda: open_private(folder / "x"),
        lambda: open_to_append(folder, "x"),
        lambda: make_folder(folder),
        lambda: check_folder(folder / "new" / "x"),
    ):
        with pytest.raises(InputError, match=f"belongs to user {STRANGER}"):
            write()
    assert os.listdir(folder) == ["below"]


@as_root
def test_root_follows_links_of_root_and_of_who_called_it_alone(tmp_path: Path, student: None) -> None:
    (tmp_path / "disk").mkdir()
    for number, uid in enumerate((0, STUDENT)):
        link = tmp_path / f"link{number}"
        link.symlink_to(("../" + tmp_path.name + "/disk") if number else tmp_path / "disk")
        os.chown(link, uid, uid, follow_symlinks=False)
        write_file(link / "new", f"x{number}", "")
    assert sorted(os.listdir(tmp_path / "disk/new")) == ["x0", "x1"]
    bad = tmp_path / "bad"
    bad.symlink_to(tmp_path / "disk")
    os.chown(bad, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(InputError, match="symbolic link 'bad'"):
        write_file(bad, "x", "")
    os.chown(tmp_path / "disk/new/x0", STRANGER, STRANGER)
    with pytest.raises(InputError, match="yours alone"):
        open_to_append(tmp_path / "disk/new", "x0")


def test_links_that_lead_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="a"):
        write_file(tmp_path / "a", "x", "")


def test_other_users_are_left_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    assert safe_files._is_trusted(STRANGER)
