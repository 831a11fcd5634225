"""Classes from files: which one a reference names, and how a file that is no good is refused."""

from __future__ import annotations

import re
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.errors import InputError
from hoverboard.contract.plugins import absolute, file_of, load_class

HERE = __name__
BEGIN = "import sys\nfrom abc import abstractmethod\n\nBase = sys.modules[BASE].Animal\n"
ONE = "class Cat(Base):\n    def noise(self): return 'meow'\n"
TWO = f"{ONE}class Dog(Cat):\n    def noise(self): return 'woof'\n"
NEXT = "write a file with `class Mine(Animal)`, and name it as mine.py:Mine"


class Animal(ABC):
    @abstractmethod
    def noise(self) -> str: ...


class Parrot(Animal):
    def noise(self) -> str:
        return "hello"


def text_of(classes: str) -> str:
    return BEGIN.replace("BASE", repr(HERE)) + classes


def written(folder: Path, classes: str, name: str = "mine.py") -> str:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text_of(classes))
    return str(path)


def load(reference: str, where: str = "") -> type[Any]:
    return load_class(reference, Animal, where, noun="animal", next_step=NEXT)


@pytest.mark.parametrize(
    ("reference", "file", "name"),
    [
        ("mine.py", "mine.py", ""),
        ("mine.py:Cat", "mine.py", "Cat"),
        ("/a:b/c.py:Cat", "/a:b/c.py", "Cat"),
        ("x.py:y.py", "x.py:y.py", ""),
    ],
)
def test_a_reference_is_a_file_and_perhaps_a_class(reference: str, file: str, name: str) -> None:
    assert file_of(reference) == (Path(file), name)


@pytest.mark.parametrize("reference", ["throughput", "wan-encryption", "mine.txt", "mine.py:", "mine.pyc", ""])
def test_anything_else_is_no_file(reference: str) -> None:
    assert file_of(reference) is None
    assert absolute(reference, Path("/there")) == reference


def test_a_relative_file_is_beside_who_names_it() -> None:
    assert absolute("mine.py", Path("/there")) == "/there/mine.py"
    assert absolute("../mine.py:Cat", Path("/there/is")) == "/there/mine.py:Cat"
    assert absolute("/mine.py:Cat", Path("/there")) == "/mine.py:Cat"


def test_the_only_class_of_a_file_needs_no_name(tmp_path: Path) -> None:
    path = written(tmp_path, f"Parrot = sys.modules[{HERE!r}].Parrot\n{ONE}Tom = Cat\n")
    for reference in (path, f"{path}:Cat", f"{path}:Tom"):
        assert load(reference)().noise() == "meow"
    assert load(f"{path}:Parrot") is Parrot


def test_of_several_the_named_one_is_loaded(tmp_path: Path) -> None:
    path = written(tmp_path, TWO)
    assert load(f"{path}:Dog")().noise() == "woof"
    assert load(f"{path}:Cat")().noise() == "meow"


def test_what_lacks_a_method_does_not_count(tmp_path: Path) -> None:
    path = written(tmp_path, f"class Half(Base):\n    @abstractmethod\n    def tail(self): ...\n{ONE}")
    assert load(path).__name__ == "Cat"


def test_a_relative_path_is_from_where_the_command_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, ONE)
    monkeypatch.chdir(tmp_path)
    assert load("mine.py:Cat")().noise() == "meow"


def test_two_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    one, other = (written(tmp_path, f"{ONE}    at = {name!r}\n", f"{name}/mine.py") for name in ("a", "b"))
    assert [load(path).at for path in (one, other, one)] == ["a", "b", "a"]
    assert sys.modules[load(one).__module__].Cat.at == "a"
    assert sys.modules[load(other).__module__].Cat.at == "b"


LINES = text_of("").count("\n")


@pytest.mark.parametrize(
    ("classes", "name", "message", "where", "next_step"),
    [
        (None, ":Cat", "there is no Python file 'mine.py'", "{}:Cat", NEXT),
        (None, "", "there is no Python file 'mine.py'", "{}", NEXT),
        ("\nx = (", "", "the file raised SyntaxError: .*", f"{{}}:{LINES + 2}", "correct it; .*"),
        ("def f():\n    raise OSError(5)\n\nf()", ":Cat", "the file raised OSError: 5", f"{{}}:{LINES + 2}", "corr.*"),
        ("import no_such_module", "", "the file raised ModuleNotFoundError: .*", f"{{}}:{LINES + 1}", "correct it; .*"),
        ("sys.exit(3)", "", "the file raised SystemExit: 3", f"{{}}:{LINES + 1}", "correct it; .*"),
        (
            "class Stop(BaseException): pass\n\nraise Stop('now')",
            ":Cat",
            "the file raised Stop: now",
            f"{{}}:{LINES + 3}",
            "correct it; .*",
        ),
        (
            "class Mute(Exception):\n    def __str__(self): return 1 / 0\n\nraise Mute",
            "",
            "the file raised Mute: its message cannot be made: __str__ raises",
            f"{{}}:{LINES + 4}",
            "correct it; .*",
        ),
        ("raise ValueError", "", "the file raised ValueError", f"{{}}:{LINES + 1}", "correct it; .*"),
        (
            "class Odd:\n    @property\n    def __class__(self): raise OSError(5)\nodd = Odd()",
            ":Cat",
            "the file raised OSError: 5",
            f"{{}}:{LINES + 3}",
            "correct it; .*",
        ),
        (
            "def __getattr__(name): raise OSError",
            ":Cat",
            "there is no class 'Cat' in the file",
            "{}:Cat",
            re.escape(NEXT),
        ),
        ("", "", "the file has no animal", "{}", re.escape(NEXT)),
        ("class Cat: pass", "", "the file has no animal", "{}", re.escape(NEXT)),
        ("class Cat: pass", ":Cat", "'Cat' is no animal", "{}:Cat", re.escape(NEXT)),
        ("Cat = 3", ":Cat", "'Cat' is no animal", "{}:Cat", re.escape(NEXT)),
        ("", ":Base", "'Base' is no animal", "{}:Base", re.escape(NEXT)),
        (TWO, ":Cow", "there is no class 'Cow' in the file", "{}:Cow", "it has Cat, Dog"),
        ("", ":Cow", "there is no class 'Cow' in the file", "{}:Cow", re.escape(NEXT)),
        ("class Cat(Base): pass", ":Cat", "class 'Cat' lacks noise", "{}:Cat", re.escape(NEXT)),
        (TWO, "", "name one animal: the file has Cat, Dog", "{}", "name it as mine.py:Cat"),
    ],
)
def test_a_file_that_is_no_good_is_refused_in_full(
    tmp_path: Path, classes: str | None, name: str, message: str, where: str, next_step: str
) -> None:
    path = str(tmp_path / "mine.py") if classes is None else written(tmp_path, classes)
    before = set(sys.modules)
    with pytest.raises(InputError) as refused:
        load(f"{path}{name}")
    assert re.fullmatch(message, refused.value.what)
    assert refused.value.where == where.format(path)
    assert re.fullmatch(next_step, refused.value.next_step) or next_step == NEXT == refused.value.next_step
    assert not any(new.startswith("plugin_") and "raised" in message for new in set(sys.modules) - before)


def test_an_interrupt_stays_one_and_leaves_no_module(tmp_path: Path) -> None:
    path = written(tmp_path, "raise KeyboardInterrupt")
    before = set(sys.modules)
    with pytest.raises(KeyboardInterrupt):
        load(path)
    assert not any(new.startswith("plugin_") for new in set(sys.modules) - before)


def test_what_is_no_python_file_is_refused_with_who_names_it(tmp_path: Path) -> None:
    path = written(tmp_path, ONE, "mine.txt")
    with pytest.raises(InputError, match=r"there is no Python file 'mine.txt'") as refused:
        load(path, "--animal")
    assert refused.value.where == f"--animal: {path}"
