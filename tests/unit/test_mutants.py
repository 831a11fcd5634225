"""Mutation testing is tested too: which changes it makes, and that the list of equivalent ones names real mutants."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation import equivalent
from tests.mutation.copy import Copy
from tests.mutation.mutants import mutants

CHECKOUT = Path(__file__).parents[2]


def changes(source: str) -> set[str]:
    return {mutant.change for mutant in mutants(source)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", {"< -> <="}),
        ("x = a is not b", {"is not -> is"}),
        ("x = a == 'up'", {"== -> !=", "'up' -> 'up~'"}),
        ("x = a and b", {"a and b -> ((a) or (b))", "a and b -> ((b))", "a and b -> ((a))"}),
        ("x = not a", {"not a -> (a)"}),
        ("x = a + b", {"+ -> -"}),
        ("x = min(a, b)", {"min -> max"}),
        ("x = f(a, b)", {"a, b -> b, a"}),
        ("x = 3", {"3 -> 4"}),
        ("x = True", {"True -> False"}),
        ("x = b if a else c", {"a -> (not (a))"}),
        ("def f(a):\n    go(a)", {"go(a) -> pass"}),
        ("def f(self):\n    self.x = a\n    go()", {"self.x = a -> pass", "go() -> pass", " -> return None"}),
        ("def f(a):\n    raise E\n", {"raise E -> pass"}),
        ("def f(a):\n    if a:\n        raise E", {"a -> (not (a))", "raise E -> pass", " -> return None"}),
        ("def f(a):\n    '''Text.'''\n    return a", {"return a -> return None"}),
        ("try:\n    pass\nexcept E:\n    pass", {"E -> ()"}),
        ("for x in y:\n    break", {"break -> pass"}),
    ],
)
def test_each_kind_of_change(source: str, expected: set[str]) -> None:
    assert changes(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "'''A docstring: 1 < 2.'''",
        "x: dict[str, int | None]",
        "log.warning('%d', a + 1)",
        "raise E(f'{a} < {b}', 1)",
        "assert a < b",
        "if TYPE_CHECKING:\n    x = 1",
        "x = f'{a + 1}'",
    ],
)
def test_text_for_people_and_types_stay_as_they_are(source: str) -> None:
    assert changes(source) <= {"raise E(f'{a} < {b}', 1) -> pass"}


def test_a_mutant_names_the_outermost_function_and_the_head_of_its_statement() -> None:
    source = """
class A:
    @property
    def f(self):
        def g(x):
            if (
                x < 1
            ):
                go()
"""
    (mutant,) = (each for each in mutants(source) if each.change == "< -> <=")
    assert (mutant.function, mutant.first, mutant.line, mutant.lines) == ("A.f", 3, 7, (6, 8))


def test_applying_a_mutant_changes_its_place_alone_behind_letters_of_two_bytes() -> None:
    source = "x = 'ü'\ny = a < b\nz = c < d\n"
    (mutant,) = (each for each in mutants(source) if each.line == 2)
    assert mutant.apply(source) == "x = 'ü'\ny = a <= b\nz = c < d\n"


def test_compiled_functions_are_known() -> None:
    (mutant,) = (each for each in mutants("@compiled\ndef f(a):\n    return a + 1\n") if each.change == "+ -> -")
    assert mutant.compiled


def test_each_equivalent_mutant_names_a_line_that_is_there_and_a_reason() -> None:
    # Whether the change itself is one of that line's mutants, `tests/mutate` says: to make them all takes minutes.
    entries = equivalent.read()
    lines = {
        entry.file: {line.strip() for line in (CHECKOUT / entry.file).read_text().splitlines()} for entry in entries
    }
    assert [f"{entry.file}: {entry.line}" for entry in entries if entry.line not in lines[entry.file]] == []
    assert [entry.change for entry in entries if len(entry.reason.split()) < 4] == []


def test_an_entry_excuses_one_survivor() -> None:
    source = "def f(a):\n    if a:\n        return False\n    go()\n    return False\n"
    twice = [each for each in mutants(source) if each.change == "return False -> return None"]
    assert len(twice) == 2
    entry = equivalent.Equivalent("f.py", "return False", twice[0].change, "for the one of the two")
    excuses = equivalent.Excuses([entry])
    assert [excuses.take(each, "        return False") for each in twice] == [True, False]
    assert excuses.left == []
    other = equivalent.Excuses([entry])
    assert not other.take(twice[0], "    return True")
    assert other.left == [entry]


def test_what_a_mutant_harms_is_restored(tmp_path: Path) -> None:
    for name in ("a.py", "room/b.py", "room/c.py", ".mutation/kept"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    copy = Copy(tmp_path)
    assert copy.restore() == []
    shutil.rmtree(tmp_path / "room")
    (tmp_path / "a.py").write_text("another")
    (tmp_path / ".mutation/kept").unlink()
    before = (tmp_path / "a.py").stat().st_mtime_ns
    assert sorted(path.name for path in copy.restore()) == ["a.py", "b.py", "c.py"]
    assert [(tmp_path / name).read_text() for name in ("a.py", "room/b.py", "room/c.py")] == [
        "a.py", "room/b.py", "room/c.py",
    ]  # fmt: skip
    assert (tmp_path / "a.py").stat().st_mtime_ns < before
    assert copy.restore() == []


def test_a_mutant_that_ends_every_process_costs_no_other_its_answer(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("x = 1\n")
    (tmp_path / "test_x.py").write_text(
        "import os, signal\nimport module\n\n"
        "def test_x():\n"
        "    if module.x == 2:\n"
        "        os.kill(os.getppid(), signal.SIGKILL)\n"
        "    assert module.x == 1\n"
    )
    script = f"""
import os
os.chdir({str(tmp_path)!r})
from pathlib import Path
from tests.mutation import apart
apart.PACKAGES = ()
one = apart.Apart()
print([one.run(Path("module.py"), text, ["test_x.py"], 60) for text in ("x = 1", "x = 2", "x = 3", "x = 1")])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": f"{CHECKOUT}:{tmp_path}"},
    )  # fmt: skip
    assert (done.stdout, file.read_text()) == ("[0, 70, 1, 0]\n", "x = 1\n"), done.stderr
