"""Whose compiled code is run: who owns a directory and who can write it, inside a user namespace and outside."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hoverboard import mapped_users
from hoverboard.fastpath.compiled import trust

OVERFLOW, STUDENT = 65534, 61234
ALL = "0 0 4294967295\n"
ONLY_ME = f"0 {STUDENT} 1\n"

Seen = Callable[..., None]


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Sets what the process sees: its uid, the map of its user namespace, and the owner of each path."""

    def see(uid: int, uid_map: str, owners: dict[Path, int]) -> None:
        file = tmp_path / "uid_map"
        file.write_text(uid_map)
        monkeypatch.setattr(mapped_users, "_UID_MAP", file)
        monkeypatch.setattr(os, "geteuid", lambda: uid)
        real, real_f = Path.stat, os.fstat

        def owned(path: Path, found: os.stat_result) -> os.stat_result:
            near = [one for one in (path, *path.parents) if one in owners]
            words = list(found)
            if near:
                words[4] = owners[near[0]]
            return os.stat_result(words)

        monkeypatch.setattr(Path, "stat", lambda self, **more: owned(self, real(self, **more)))
        monkeypatch.setattr(os, "fstat", lambda fd: owned(Path(os.readlink(f"/proc/self/fd/{fd}")), real_f(fd)))

    return see


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    made = tmp_path / "cache"
    (made / "0123" / "packets").mkdir(parents=True)
    (made / "0123" / "packets" / "parse.nbc").write_bytes(b"code")
    for path in (made, *made.rglob("*")):
        path.chmod(0o755)
    return made


def content(cache: Path) -> bytes | None:
    return trust.read_trusted(cache / "0123" / "packets" / "parse.nbc", cache)


@pytest.mark.parametrize(
    ("uid", "owner", "good"),
    [(STUDENT, STUDENT, True), (STUDENT, 0, True), (0, 0, True), (STUDENT, 777, False), (0, STUDENT, False)],
)
def test_roots_and_ones_own_are_trusted_outside(cache: Path, seen: Seen, uid: int, owner: int, good: bool) -> None:
    seen(uid, ALL, {cache: owner})
    assert trust.trusted(cache) is good


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_what_others_can_write_is_not(cache: Path, mode: int) -> None:
    assert trust.trusted(cache)
    cache.chmod(mode)
    assert not trust.trusted(cache)


def test_in_a_namespace_only_ones_own_is_trusted_by_its_number(cache: Path, seen: Seen) -> None:
    seen(0, ONLY_ME, {cache: 0})
    assert trust.trusted(cache)
    seen(0, ONLY_ME, {cache: OVERFLOW})  # root's or a stranger's: they look alike
    assert not trust.trusted(cache)


def test_the_environment_that_already_runs_is_trusted_in_a_namespace(
    cache: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(cache.parent))
    seen(0, ONLY_ME, {cache.parent: OVERFLOW})
    assert trust.trusted(cache)
    assert content(cache) == b"code"
    seen(0, ONLY_ME, {cache.parent: 0, cache: OVERFLOW})  # my own environment, and in it a directory that is not mine
    assert not trust.trusted(cache)


def test_a_judgement_from_outside_counts_inside(cache: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"NUMBA_CACHE_DIR": str(cache)}
    seen(STUDENT, ALL, {cache: 0})
    trust.judge(environment)
    monkeypatch.setenv(trust.JUDGED, environment[trust.JUDGED])
    seen(0, ONLY_ME, {cache: OVERFLOW})
    assert trust.trusted(cache)
    other = cache.with_name("other")
    other.mkdir()
    seen(0, ONLY_ME, {other: OVERFLOW})
    assert not trust.trusted(other), "another directory was not judged"
    cache.chmod(0o777)
    assert not trust.trusted(cache), "since then others may write it"


def test_outside_the_judgement_of_ones_caller_is_nothing(
    cache: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = cache.stat()
    monkeypatch.setenv(trust.JUDGED, f"{found.st_dev}:{found.st_ino}")
    seen(STUDENT, ALL, {cache: 777})
    assert not trust.trusted(cache)


@pytest.mark.parametrize("given", [None, "/nowhere", "foreign"])
def test_what_is_not_trusted_outside_is_not_noted(cache: Path, seen: Seen, given: str | None) -> None:
    seen(STUDENT, ALL, {cache: 777})
    environment = {trust.JUDGED: "1:2"}
    if given:
        environment["NUMBA_CACHE_DIR"] = str(cache) if given == "foreign" else given
    trust.judge(environment)
    assert trust.JUDGED not in environment


def test_a_file_is_read_if_no_one_else_can_write_it_or_a_directory_on_the_way(cache: Path) -> None:
    file = cache / "0123" / "packets" / "parse.nbc"
    assert content(cache) == b"code"
    for spoilt in (file, file.parent, file.parent.parent):
        spoilt.chmod(0o777)
        assert content(cache) is None, spoilt
        spoilt.chmod(0o755)
    assert content(cache) == b"code"


def test_a_file_of_a_stranger_a_link_a_pipe_and_a_folder_are_not_read(cache: Path, seen: Seen) -> None:
    file = cache / "0123" / "packets" / "parse.nbc"
    seen(STUDENT, ALL, {cache: 0, file: 777})
    assert content(cache) is None
    seen(STUDENT, ALL, {cache: 0})
    assert content(cache) == b"code"
    target = file.rename(file.with_name("target"))
    for make in (lambda: file.symlink_to(target), lambda: os.mkfifo(file), lambda: None):
        make()
        assert content(cache) is None
        file.unlink(missing_ok=True)
    file.mkdir()
    assert content(cache) is None
