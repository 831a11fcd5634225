"""Stages are found by name or by path; what is wrong is said with its place."""

from __future__ import annotations

import textwrap
from importlib.metadata import EntryPoint

import pytest

from hoverboard.contract.errors import InputError
from hoverboard.coprocessor.registry import GROUP, Registry
from tests.unit.hoverboard.coprocessor.fakes import context, packet

ONE = """
    class Colour:
        name = "colour"
        def __init__(self, context, config):
            self.colour = config["colour"]
        def process(self, batch):
            return batch
        def tick(self, now):
            return []
        def deadline(self):
            return None
"""


@pytest.fixture
def write(tmp_path):
    def written(text, name="stage.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    return written


def test_our_own_stages_are_installed():
    registry = Registry()
    for name in ("wan-encryption", "internet-acl", "dos-detection", "abuse-detection", "wan-shaping"):
        assert name in registry.names()
        assert registry.find(name).name == name


def test_a_students_stage_is_one_file(write):
    registry = Registry()
    stage = registry.make(write(ONE), context(), {"colour": "red"})
    one = packet(bytes(60))
    assert stage.process([one]) == [one]
    assert stage.colour == "red"


def test_a_class_by_name(write):
    path = write(ONE + ONE.replace("Colour", "Other").replace('"colour"\n', '"other"\n'))
    assert Registry().find(f"{path}:Other").name == "other"
    with pytest.raises(InputError, match="name one stage: the file has Colour, Other"):
        Registry().find(path)


def test_imported_classes_are_not_the_files_own(write):
    path = write(
        """
        from hoverboard.coprocessor.stage import ConfiguredStage, StageConfig

        class Config(StageConfig):
            depth: int = 3

        class Mine(ConfiguredStage[Config]):
            name = "mine"
            Config = Config
            def process(self, batch): return batch
        """
    )
    registry = Registry()
    assert registry.make(path, context(), {}).config.depth == 3
    registry.check(path, {"depth": 4})
    with pytest.raises(InputError, match="no such key") as caught:
        registry.check(path, {"deep": 4})
    assert caught.value.where == "stage mine, config.deep"
    assert "depth" in caught.value.next_step


def test_two_files_of_one_name_do_not_meet(write, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    registry = Registry()
    first = registry.find(write(ONE, "a/stage.py"))
    second = registry.find(write(ONE.replace('name = "colour"', 'name = "second"'), "b/stage.py"))
    assert (first.name, second.name) == ("colour", "second")


BROKEN = [
    ("a syntax error", "class Colour(:\n    pass", "stage.py:1", "SyntaxError"),
    ("an import that fails", "import no_such_module_at_all", "stage.py:1", "ModuleNotFoundError"),
    ("it ends the program", "import sys\nsys.exit(3)", "stage.py:2", "SystemExit"),
    ("no stage", "x = 1", "stage.py", "the file has no stage"),
    ("no name", ONE.replace('name = "colour"', "x = 1"), "stage.py", "lacks name"),
    ("no tick", ONE.replace("def tick", "def tock"), "stage.py", "lacks tick"),
]


@pytest.mark.parametrize(("what", "text", "where", "message"), BROKEN, ids=[row[0] for row in BROKEN])
def test_a_broken_file(write, what, text, where, message):
    with pytest.raises(InputError, match=message) as caught:
        Registry().find(write(text))
    assert caught.value.where.endswith(where)
    assert caught.value.next_step


def test_what_is_not_there(write, tmp_path):
    with pytest.raises(InputError, match="there is no Python file 'none.py'"):
        Registry().find(str(tmp_path / "none.py"))
    with pytest.raises(InputError, match="there is no class 'Nix'") as caught:
        Registry().find(write(ONE) + ":Nix")
    assert "Colour" in caught.value.next_step
    with pytest.raises(InputError, match="no stage 'wan-encrypton'") as caught:
        Registry().find("wan-encrypton")
    assert "wan-encryption" in caught.value.next_step


def test_a_constructor_that_fails_is_an_input_error(write):
    with pytest.raises(InputError, match="KeyError: 'colour'") as caught:
        Registry().make(write(ONE), context(), {})
    assert caught.value.where == "stage colour"


@pytest.mark.parametrize(
    ("value", "message"),
    [("no_such_module:X", "ModuleNotFoundError"), ("json:nothing", "AttributeError"), ("json:dumps", "not a class")],
)
def test_a_broken_entry_point(value, message):
    registry = Registry(lambda: [EntryPoint("theirs", value, GROUP)])
    with pytest.raises(InputError, match=message) as caught:
        registry.find("theirs")
    assert "theirs" in caught.value.where


def test_who_only_looks_says_at_how_many():
    registry = Registry()
    config = {"packets_per_second": 1, "sample": 8}
    assert registry.sampling("dos-detection", config, "ingress") == 8
    assert registry.sampling("dos-detection", config, "egress") == 0
    assert registry.sampling("internet-acl", {}, "ingress") is None


def test_a_strange_number_of_samples(write):
    text = [
        "from hoverboard.coprocessor.stage import ConfiguredStage",
        "class Look(ConfiguredStage):",
        "    name = 'look'",
        "    def process(self, batch): return batch",
    ]
    path = write("\n".join([*text, "    @classmethod", "    def sampling(cls, config, direction): return 'many'"]))
    with pytest.raises(InputError, match="'many'"):
        Registry().sampling(path, {}, "ingress")
