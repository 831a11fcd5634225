"""Where compiled code is on disk: read from all places that can be trusted, written to the first that takes it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from hoverboard.fastpath.compiled import disk_cache
from hoverboard.fastpath.compiled.disk_cache import CodeStore, own_places, writable

NAME = "fastpath_packets/parse.nbc"


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is read-only, also for root."""
    place = tmp_path / "environment"
    place.mkdir()
    monkeypatch.setattr(disk_cache, "writable", lambda path: not path.is_relative_to(place) and writable(path))
    return place


class Told(list[str]):
    """What a store told."""


def store(shared: Path, *own: Path) -> tuple[CodeStore, Told]:
    told = Told()
    made = CodeStore("0123", shared, own)
    made.notify = told.append
    return made, told


@pytest.fixture
def warm(read_only: Path) -> Path:
    """A shared place with one file of compiled code, which then can only be read."""
    shared = read_only / "numba-cache"
    disk_cache._write(disk_cache.Place(shared, ours=False), Path("0123") / NAME, _kept(b"code"))
    return shared


def _kept(content: bytes) -> bytes:
    return disk_cache._MAGIC + disk_cache.hashlib.sha256(content).digest() + content


def test_a_shared_place_that_can_be_written_is_used_and_all_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        made, told = store(tmp_path / "shared", tmp_path / "own")
        assert made.read(NAME) is None
        assert made.write(NAME, b"code")
    finally:
        os.umask(before)
    file = tmp_path / "shared/0123" / NAME
    assert [path.stat().st_mode & 0o777 for path in (file, file.parent, file.parent.parent)] == [0o644, 0o755, 0o755]
    assert made.read(NAME) == b"code"
    assert not (tmp_path / "own").exists()
    assert told == []


def test_a_shared_place_that_is_read_only_is_read_where_it_is(warm: Path, tmp_path: Path) -> None:
    made, told = store(warm, tmp_path / "own", tmp_path / "last")
    assert made.read(NAME) == b"code"
    assert not (tmp_path / "own").exists(), "nothing is copied"
    assert made.directory == tmp_path / "own" / "0123"
    assert told == []


def test_what_is_missing_there_is_kept_for_our_user_alone(warm: Path, tmp_path: Path) -> None:
    made, told = store(warm, tmp_path / "own", tmp_path / "last")
    assert made.write("fastpath_packets/more.nbc", b"more")
    assert made.read("fastpath_packets/more.nbc") == b"more"
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "own", *(tmp_path / "own").rglob("*"))}
    assert modes == {0o700, 0o600}
    assert [path.name for path in warm.rglob("*.nbc")] == ["parse.nbc"]
    assert told == []


def test_a_place_of_others_is_passed_over(warm: Path, tmp_path: Path) -> None:
    shared, linked, foreign, own = (tmp_path / name for name in ("shared", "linked", "foreign", "own"))
    shared.mkdir()
    shared.chmod(0o777)
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    linked.symlink_to(private)
    foreign.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(foreign, 12345, 12345)
        os.chown(linked, 12345, 12345, follow_symlinks=False)
    else:
        linked.unlink()
        foreign.chmod(0o777)
    made, _ = store(warm, shared, linked, foreign, own)
    assert made.write("a/b.nbc", b"code")
    assert (own / "0123/a/b.nbc").exists()
    assert [os.listdir(place) for place in (shared, private, foreign)] == [[], [], []]


def test_the_last_place_is_told_once(warm: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "home"
    blocked.write_text("no folder")
    made, told = store(warm, blocked / "numba", tmp_path / "last")
    assert made.write("a.nbc", b"code")
    assert made.write("b.nbc", b"code")
    assert told == [f"compiled code is kept in {tmp_path}/last: you have no home folder that can be written"]


def test_a_full_disk_ends_nothing_and_is_told_once(warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, told = store(warm, tmp_path / "own", tmp_path / "last")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk_cache.os, "fchmod", full)  # after the bytes, before the file has its name
    assert not made.write(NAME, b"code")
    assert not made.write(NAME, b"code")
    assert len(told) == 1
    assert "cannot be kept (No space left on device): each start compiles" in told[0]
    assert [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(warm)] == []
    assert made.read(NAME) == b"code", "the shared place serves"


@pytest.mark.parametrize("size", [0, 1, 20, 49, 50, 53])
def test_a_file_that_was_cut_short_does_not_count(tmp_path: Path, size: int) -> None:
    made, _ = store(tmp_path / "shared", tmp_path / "own")
    made.write(NAME, b"code")
    file = tmp_path / "shared/0123" / NAME
    assert file.stat().st_size == len(_kept(b"code")) == 54
    os.truncate(file, size)
    assert made.read(NAME) is None
    made.write(NAME, b"code")
    assert made.read(NAME) == b"code"


@pytest.mark.parametrize("at", [0, 20, 52])
def test_a_file_with_a_wrong_byte_does_not_count(tmp_path: Path, at: int) -> None:
    made, _ = store(tmp_path / "shared", tmp_path / "own")
    made.write(NAME, b"code")
    file = tmp_path / "shared/0123" / NAME
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    assert made.read(NAME) is None


def test_a_bad_file_in_the_shared_place_does_not_hide_ones_own(warm: Path, tmp_path: Path) -> None:
    made, _ = store(warm, tmp_path / "own", tmp_path / "last")
    made.write(NAME, b"mine")
    assert made.read(NAME) == b"code"
    os.truncate(warm / "0123" / NAME, 30)
    assert made.read(NAME) == b"mine"


def test_a_shared_place_that_others_can_write_is_not_used_and_told(warm: Path, tmp_path: Path) -> None:
    warm.chmod(0o777)
    made, told = store(warm, tmp_path / "own", tmp_path / "last")
    assert made.read(NAME) is None
    assert told == [f"compiled code in {warm} is not used, because others can write it; chmod -R go-w {warm}"]
    assert made.directory == tmp_path / "own/0123"


def test_many_that_write_one_file_leave_it_whole(tmp_path: Path) -> None:
    made, _ = store(tmp_path / "shared", tmp_path / "own")
    contents = [bytes([65 + n]) * 20000 for n in range(8)]
    threads = [threading.Thread(target=made.write, args=(NAME, content)) for content in contents for _ in range(5)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert made.read(NAME) in contents
    assert os.listdir((tmp_path / "shared/0123" / NAME).parent) == ["parse.nbc"]


def test_a_folder_that_numba_made_by_a_lax_umask_is_put_right(tmp_path: Path) -> None:
    made, _ = store(tmp_path / "shared", tmp_path / "own")
    (tmp_path / "shared/0123").mkdir(parents=True)
    (tmp_path / "shared/0123").chmod(0o775)
    made.write(NAME, b"code")
    assert made.read(NAME) == b"code"


# -- the places of a user -------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(disk_cache.tempfile, "gettempdir", lambda: "/tmp")
    monkeypatch.setattr(disk_cache, "some_are_missing", lambda: True)
    monkeypatch.setattr(disk_cache, "outside_uid", lambda: 61234)
    return tmp_path


LAST = Path("/tmp/hoverboard-cache-61234/numba")


def test_home_is_the_first_and_tmp_the_last_place(home: Path) -> None:
    assert own_places() == [home / ".cache/hoverboard/numba", LAST]


def test_a_relative_cache_folder_does_not_count(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert own_places()[0] == home / ".cache/hoverboard/numba"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "c"))
    assert own_places()[0] == home / "c/hoverboard/numba"


def test_the_home_of_another_user_is_not_ours(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    assert own_places() == [LAST]


def test_without_a_home_there_is_a_place(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    assert own_places() == [LAST]


def test_run_is_a_place_of_the_machines_root_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_cache, "some_are_missing", lambda: False)
    for uid, has in ((0, True), (61234, False)):
        monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
        assert (Path("/run/hoverboard-numba") in own_places()) is has
