"""How a journal treats its file: when it writes, how much at a time, and when the file is written from new."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hoverboard.contract.errors import RunError
from hoverboard.host.checkpointing import journal
from hoverboard.host.checkpointing.journal import FLUSH_SECONDS, read
from tests.unit.hoverboard.host.checkpointing.test_journal import HEAD, START, Kept


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few records at a time, and few of the past."""
    monkeypatch.setattr(journal, "FLUSH_RECORDS", 3)
    monkeypatch.setattr(journal, "_SLACK", 4)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path / "checkpoint")
    yield made
    made.journal.close()


def lines(path: Path) -> int:
    """Records in the file."""
    return len(path.read_bytes().splitlines()) - 1


def open_files(directory: Path) -> int:
    """Descriptors of this process that lead into a directory."""
    links = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own is closed by now
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sum(link.startswith(f"{directory}/") for link in links)


def test_nothing_is_due_until_something_changes(kept: Kept) -> None:
    assert kept.journal.due is None
    kept.journal.note(START, [])
    assert kept.journal.due is None
    kept.journal.note(START, [("flow", 1)])
    kept.journal.note(START + 1, [("flow", 2)])
    assert kept.journal.due == START + FLUSH_SECONDS, "another change does not put it off"
    kept.journal.flush(START + 2)
    assert kept.journal.due is None


def test_a_flush_writes_a_bounded_number_of_records(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "FLUSH_RECORDS", 3)
    for number in range(7):
        kept.put(("flow", number), number)
    for written in (3, 6, 7):
        assert kept.journal.due is not None
        kept.journal.flush(START + written)
        assert kept.journal.written == lines(kept.path) == written
        assert kept.journal.due == (None if written == 7 else START + written + FLUSH_SECONDS)
    assert read(kept.path, HEAD) == kept.table


def test_a_flush_is_due_after_50_ms_and_writes_200_records(kept: Kept) -> None:
    for number in range(201):
        kept.journal.note(START, [("flow", number)])
    assert kept.journal.due == START + 0.05
    kept.journal.flush(START + 0.05)
    assert (kept.journal.written, kept.journal.due) == (200, START + 0.05 + FLUSH_SECONDS)


def test_2000_records_of_the_past_are_suffered(kept: Kept) -> None:
    kept.table[("flow", 1)] = "x"
    for _ in range(2_000):
        kept.journal.note(START, [("flow", 1)])
        kept.journal.flush(START)
    assert lines(kept.path) == 2_000
    kept.put(("flow", 1), "y")
    kept.settle()
    assert lines(kept.path) == 1


def test_only_the_owner_may_read_the_file(kept: Kept) -> None:
    kept.settle()
    assert kept.path.stat().st_mode & 0o777 == 0o600


def flows(count: int) -> dict[tuple[str, object], object]:
    return {("flow", number): number for number in range(count)}


def test_the_last_processs_file_stays_until_the_first_one_is_complete(small: None, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    path.write_text("of the last process")
    path.with_suffix(".next").write_text("its successor died before this was complete\n" * 100)
    kept = Kept(path, flows(8))
    assert kept.journal.due == 0.0, "the rest is due at once"
    kept.put(("flow", 0), "changed")
    kept.put(("flow", 9), "new")
    kept.journal.flush(START)
    assert path.read_text() == "of the last process"
    assert kept.journal.due == START + FLUSH_SECONDS, "the rest follows"
    kept.settle()
    assert read(path, HEAD) == kept.table
    assert not path.with_suffix(".next").exists()
    assert open_files(tmp_path) == 1
    kept.put(("flow", 1), None)
    kept.settle()
    assert read(path, HEAD) == kept.table, "records go into the complete file"
    kept.journal.close()
    kept.journal.close()
    assert open_files(tmp_path) == 0
    assert os.fstat(1).st_mode, "nothing else was closed"


def test_a_journal_that_ends_before_its_first_file_is_complete_leaves_the_last_processs(
    small: None, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint"
    path.write_text("of the last process")
    kept = Kept(path, flows(8))
    assert open_files(tmp_path) == 1
    kept.journal.close()
    assert open_files(tmp_path) == 0
    assert path.read_text() == "of the last process"


def test_the_file_is_written_from_new_when_most_of_it_is_past(small: None, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "checkpoint", flows(2))
    kept.settle()
    sizes = []
    for value in range(8):
        kept.put(("flow", 0), value)
        kept.settle()
        sizes.append(lines(kept.path))
    # Twice as many as were live, and the slack of 4: then there are two again.
    assert sizes == [3, 4, 5, 6, 7, 8, 2, 3]
    assert read(kept.path, HEAD) == kept.table
    assert open_files(tmp_path) == 1
    kept.journal.close()


def test_the_next_rewriting_goes_by_what_was_live_then(small: None, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "checkpoint")
    kept.settle()
    for number in range(5):
        kept.put(("flow", number), number)
        kept.settle()
    assert lines(kept.path) == 5, "none was live when the file was begun: 4 and one more"
    for value in range(9):
        kept.put(("flow", 0), value)
        kept.settle()
    assert lines(kept.path) == 14, "five were"
    kept.put(("flow", 0), "one more")
    kept.settle()
    assert lines(kept.path) == 5
    kept.journal.close()


def test_records_that_came_while_the_file_was_written_count_for_the_next_rewriting(small: None, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "checkpoint", flows(8))
    for number in range(3):
        kept.put(("flow", number), "changed")
    kept.settle()
    assert lines(kept.path) == 11
    for value in range(9):
        kept.put(("flow", 7), value)
        kept.settle()
    assert lines(kept.path) == 20, "twice eight, and the slack of 4"
    kept.put(("flow", 7), "one more")
    kept.settle()
    assert lines(kept.path) == 8
    kept.journal.close()


def test_records_that_change_while_the_file_is_written_are_in_both(small: None, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "checkpoint", flows(6))
    kept.settle()
    while not kept.path.with_suffix(".next").exists():
        kept.put(("flow", 0), kept.now)
        kept.journal.flush(kept.now)
    kept.put(("flow", 1), "late")
    kept.put(("flow", 5), None)
    kept.journal.flush(kept.now)
    old = read(kept.path, HEAD)
    kept.settle()
    assert old[("flow", 1)] == "late"
    assert read(kept.path, HEAD) == kept.table
    kept.journal.close()


def test_a_write_that_takes_a_part_is_gone_on_with(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, data[:3]))
    kept.put(("flow", 1), "a text that takes several writes")
    kept.settle()
    assert read(kept.path, HEAD) == kept.table


def test_names_come_back_as_they_were_and_other_kinds_stay_apart(kept: Kept) -> None:
    for ident in (("flow", (1, (2, "x"))), ("flow", "1"), ("peer", "1"), ("flow", 1)):
        kept.put(ident, [1, [2]])
    kept.put(("peer", "1"), None)
    kept.settle()
    assert read(kept.path, HEAD) == kept.table
    assert len(kept.table) == 3


def test_a_record_that_went_and_came_again_is_there(kept: Kept) -> None:
    kept.settle()
    for value in (1, None, 2, None, None, 3):
        kept.put(("flow", 1), value)
        kept.settle()
    assert read(kept.path, HEAD) == {("flow", 1): 3}


def test_what_was_written_last_comes_last(kept: Kept) -> None:
    for number in (1, 2, 3, 1):
        kept.put(("flow", number), number)
        kept.settle()
    assert list(read(kept.path, HEAD)) == [("flow", 2), ("flow", 3), ("flow", 1)]


def test_a_directory_that_is_not_there_ends_the_journal_at_once(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "missing" / "checkpoint")
    assert kept.journal.failure == "not written: No such file or directory"
    kept.put(("flow", 1), 1)
    assert kept.journal.due is None
    kept.journal.flush(START)
    assert (kept.journal.written, open_files(tmp_path)) == (0, 0)
    assert os.fstat(1).st_mode, "nothing else was closed"


def test_a_disk_that_fills_while_the_file_is_written_leaves_no_file(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(tmp_path / "checkpoint", flows(8))
    for number in range(5):
        kept.put(("flow", number), "changed")

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    kept.journal.flush(START)
    assert kept.journal.failure == "not written any more: No space left on device"
    assert (kept.journal.due, open_files(tmp_path), kept.path.exists()) == (None, 0, False)
    kept.path.write_text("of the last process")
    kept = Kept(kept.path, flows(8))
    assert kept.journal.failure == "not written: No space left on device"
    assert (kept.journal.due, open_files(tmp_path), kept.path.exists()) == (None, 0, False)


@pytest.mark.parametrize("head", [{"node": "h1", "more": 1}, {}, {"node": "h1", "version": 1}])
def test_a_file_under_another_head_or_version_is_refused(kept: Kept, head: dict[str, object]) -> None:
    kept.settle()
    with pytest.raises(RunError, match="another") as caught:
        read(kept.path, head)
    assert caught.value.where == str(kept.path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the checkpoint is empty"),
        (b"0000", "the checkpoint is empty"),
        (b"not hex! {}\n", "damaged: line 1"),
        (b"2144df1c {\n", "damaged: line 1"),
    ],
)
def test_what_is_no_journal_is_refused_and_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "checkpoint"
    path.write_bytes(data)
    with pytest.raises(RunError, match=message) as caught:
        read(path, HEAD)
    assert caught.value.where == str(path)


def test_the_line_that_is_damaged_is_named(kept: Kept) -> None:
    kept.settle()
    for number in range(3):
        kept.put(("flow", number), f"value {number}")
    kept.settle()
    whole = kept.path.read_bytes()
    kept.path.write_bytes(whole.replace(b"value 1", b"value 7"))
    with pytest.raises(RunError, match="damaged: line 3: wrong checksum"):
        read(kept.path, HEAD)
