"""A table that outlives its process: what comes back is what was there, or a refusal that says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoverboard.contract.errors import RunError
from hoverboard.host.checkpointing import journal
from hoverboard.host.checkpointing.journal import Journal, read

HEAD = {"node": "h1"}
START = 1_000_003.0


class Kept:
    """A table and its journal."""

    def __init__(self, path: Path, table: dict[tuple[str, object], object] | None = None) -> None:
        self.path = path
        self.now = START
        self.table: dict[tuple[str, object], object] = table or {}
        self.journal = Journal(path, HEAD, self.table.get, lambda: list(self.table))

    def put(self, ident: tuple[str, object], value: object) -> None:
        if value is None:
            self.table.pop(ident, None)
        else:
            self.table[ident] = value
        self.now += 0.001
        self.journal.note(self.now, [ident])

    def settle(self) -> None:
        while self.journal.due is not None:
            self.now = max(self.now, self.journal.due)
            self.journal.flush(self.now)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all random examples."""
    return tmp_path_factory.mktemp("journal")


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 9), st.none() | st.integers() | st.text(max_size=5)),
        max_size=80,
    ),
    st.integers(1, 30),
)
def test_what_was_flushed_comes_back_also_from_a_new_file(folder, changes, every) -> None:
    path = folder / "checkpoint"
    path.unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "_SLACK", 3)
        patch.setattr(journal, "FLUSH_RECORDS", 4)
        kept = Kept(path)
        for number, (kind, key, value) in enumerate(changes):
            kept.put((kind, (key, 1)), value)
            if number % every == 0 and kept.journal.due is not None:
                kept.journal.flush(max(kept.now, kept.journal.due))
        kept.settle()
        assert read(kept.path, HEAD) == kept.table
        assert kept.journal.failure is None
        kept.journal.close()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    kept = Kept(tmp_path / "checkpoint")
    kept.settle()
    for number in range(5):
        kept.put(("flow", number), [number])
    kept.settle()
    kept.journal.close()
    return kept.path


def test_a_last_record_that_was_cut_short_is_left_out(written: Path) -> None:
    whole = written.read_bytes()
    written.write_bytes(whole[:-3])
    assert read(written, HEAD) == {("flow", number): [number] for number in range(4)}


def test_a_record_that_changes_several_times_between_flushes_is_written_once(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "checkpoint")
    kept.settle()
    for value in range(100):
        kept.put(("vport", "blue-1"), value + 1)
    kept.settle()
    assert kept.journal.written == 1
    assert read(kept.path, HEAD) == {("vport", "blue-1"): 100}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no checkpoint"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b'"h1"', b'"h2"')), "damaged: line 1"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"[3]", b"[4]")), "damaged: line 5"),
        (lambda path: path.write_bytes(b"\xff\xfe nonsense\n"), "damaged: line 1"),
    ],
)
def test_a_file_that_is_not_what_was_written_is_refused(written: Path, spoil, message: str) -> None:
    spoil(written)
    with pytest.raises(RunError, match=message):
        read(written, HEAD)


def test_another_hosts_file_is_refused(written: Path) -> None:
    with pytest.raises(RunError, match="another"):
        read(written, {"node": "h2"})


def test_a_disk_that_fails_ends_the_journal_and_not_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(tmp_path / "checkpoint")
    kept.put(("flow", 1), 1)
    kept.settle()

    def full(_fd: int, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "_write", full)
    kept.put(("flow", 2), 2)
    kept.settle()
    assert kept.journal.failure == "not written any more: No space left on device"
    assert not kept.path.exists(), "what is no longer true must not be found by the next process"
    monkeypatch.undo()
    kept.put(("flow", 3), 3)
    assert kept.journal.due is None
    kept.journal.flush(kept.now)
    assert not kept.path.exists()
