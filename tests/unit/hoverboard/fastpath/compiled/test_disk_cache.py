"""Where compiled code is on disk: in the environment, or in a copy that only our own user can write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hoverboard.contract.errors import MachineError
from hoverboard.fastpath.compiled import disk_cache
from hoverboard.fastpath.compiled.disk_cache import PlacedLocator, choose, writable


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is read-only, also for root."""
    place = tmp_path / "environment"
    place.mkdir()
    monkeypatch.setattr(disk_cache, "writable", lambda path: not path.is_relative_to(place) and writable(path))
    return place


@pytest.fixture
def warm(read_only: Path) -> Path:
    """A cache there with one file of compiled code."""
    cache = read_only / "numba-cache" / "0123"
    (cache / "fastpath_packets").mkdir(parents=True)
    (cache / "fastpath_packets" / "parse.nbc").write_bytes(b"code")
    return cache


def test_a_cache_that_can_be_written_is_used_as_it_is(tmp_path: Path) -> None:
    assert choose(tmp_path / "new" / "0123", [tmp_path / "own"]) == tmp_path / "new" / "0123"
    assert not (tmp_path / "own").exists()


def test_a_read_only_cache_is_copied_once_with_what_is_compiled(warm: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    found = choose(warm, [own])
    assert found == own / "0123"
    assert (found / "fastpath_packets" / "parse.nbc").read_bytes() == b"code"
    assert own.stat().st_mode & 0o777 == found.stat().st_mode & 0o777 == 0o700
    (found / "more.nbc").write_bytes(b"since")
    assert choose(warm, [own]) == found
    assert (found / "more.nbc").exists()
    assert os.listdir(own) == ["0123"]


def test_nothing_compiled_yet_on_a_read_only_disk_gives_an_empty_directory(read_only: Path, tmp_path: Path) -> None:
    found = choose(read_only / "numba-cache" / "0123", [tmp_path / "own"])
    assert os.listdir(found) == []


def test_a_directory_that_others_can_write_is_passed_over(warm: Path, tmp_path: Path) -> None:
    shared, linked, foreign, own = (tmp_path / name for name in ("shared", "linked", "foreign", "own"))
    shared.mkdir()
    shared.chmod(0o777)
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    linked.symlink_to(private)
    foreign.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(foreign, 12345, 12345)
    else:
        foreign.chmod(0o777)
    assert choose(warm, [shared, linked, foreign, own]) == own / "0123"
    assert os.listdir(private) == []


def test_a_full_disk_is_passed_over(warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk_cache.shutil, "copytree", full)
    with pytest.raises(MachineError, match=r"neither .*0123 nor .*own can be written\n  -> set NUMBA_CACHE_DIR"):
        choose(warm, [tmp_path / "own"])
    assert os.listdir(tmp_path / "own") == []


def test_another_process_that_is_faster_wins(warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to = tmp_path / "own" / "0123"
    copytree = disk_cache.shutil.copytree

    def late(*given: object, **more: object) -> None:
        copytree(*given, **more)  # type: ignore[arg-type]
        to.mkdir()
        (to / "theirs").touch()

    monkeypatch.setattr(disk_cache.shutil, "copytree", late)
    assert choose(warm, [tmp_path / "own"]) == to
    assert os.listdir(tmp_path / "own") == ["0123"]
    assert os.listdir(to) == ["theirs"]


def test_no_place_at_all_is_told(warm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MachineError, match="can be written"):
        choose(warm, [warm.parent / "own"])


def test_names_in_the_cache_do_not_depend_on_where_the_cache_or_the_checkout_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = PlacedLocator.get_suitable_cache_subpath
    for number in ("one", "two"):
        monkeypatch.setattr(disk_cache, "_PACKAGE", tmp_path / number / "fastpath")
        monkeypatch.setattr(disk_cache.config, "CACHE_DIR", str(tmp_path / number / "cache"))
        assert place(str(tmp_path / number / "fastpath" / "packets" / "parse.py")) == "fastpath_packets"
        assert place(str(tmp_path / number / "fastpath" / "datapath.py")) == "fastpath_top"
        assert place(str(tmp_path / number / "cache" / "composed" / "engines_1.py")) == "cache_composed"


def test_functions_of_others_keep_the_places_of_numba() -> None:
    assert PlacedLocator.from_function(choose, "/somewhere/else.py") is None
    assert disk_cache.LOCATORS[1:] == (
        "UserProvidedCacheLocator", "InTreeCacheLocator", "UserWideCacheLocator", "IPythonCacheLocator",
        "ZipCacheLocator",
    )  # fmt: skip
