"""Which experiments there are: the catalogue by name, a person's own by the path of its file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from experiments.frame import parameters
from experiments.frame.experiment import Point
from experiments.sweeps import discovery
from experiments.sweeps.folder import key_of
from hoverboard.contract.errors import InputError
from tests.unit.experiments.sweeps.dice import FILE, written


def test_a_file_has_one_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert discovery.find(written(tmp_path)).name == "dice"
    monkeypatch.chdir(tmp_path)
    assert discovery.find("dice.py").name == "dice"
    (tmp_path / "base.py").write_text(f"{FILE}\nclass Loaded(Dice):\n    name = 'loaded'\n")
    with pytest.raises(InputError, match="name one experiment: the file has Dice, Loaded"):
        discovery.find("base.py")
    assert discovery.find("base.py:Loaded").name == "loaded"


def test_what_is_imported_or_cannot_be_made_is_none_of_the_file_s(tmp_path: Path) -> None:
    path = tmp_path / "more.py"
    imported = "from experiments.catalog.latency import Latency\nfrom abc import abstractmethod\n"
    half = "\n\nclass Half(Experiment):\n    @abstractmethod\n    def more(self): ...\n"
    path.write_text(imported + FILE + half)
    assert discovery.find(str(path)).name == "dice"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n", "has no experiment"),
        ("import nothing_of_that_name\n", "the file raised ModuleNotFoundError"),
        (None, "there is no Python file 'bad.py'"),
    ],
)
def test_bad_files(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "bad.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        discovery.find(str(path))
    assert caught.value.where.removesuffix(":1") == str(path)


@pytest.mark.parametrize(
    ("name", "words"), [("a/b", "there is no Python file 'b'"), ("thruput", "there is no experiment thruput")]
)
def test_a_path_is_a_file_and_all_else_a_name(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        discovery.find(name)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError) as caught:
        discovery.find("thruput")
    assert str(caught.value.next_step).startswith("give one of throughput, latency, cpu, programming-time,")


def test_the_catalogue_says_what_each_measures_and_has_quick_points() -> None:
    for name, one in discovery.catalogue().items():
        assert name == one.name
        assert one.title
        assert one.source
        assert one.measures
        assert 0 < one.minutes < 10
        for quick in (False, True):
            points: Iterable[Point] = one.points(parameters.values(one.parameters, {}, quick=quick))
            keys = [key_of(point, {}, 0) for point in points]
            assert len(set(keys)) == len(keys) > 0
            assert all(len(key) < 200 for key in keys)
