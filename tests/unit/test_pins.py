"""constraints.txt: complete, with hashes, in two parts; and the program that writes it."""

from __future__ import annotations

import re
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import pins
from tests.pins import FILE, ROOT, TESTS, Pin, closure, parse, render, wanted

NOT_HERE = {"legacy-cgi"}  # Python 3.13 alone needs it
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.fixture(scope="module")
def ours() -> dict[str, Pin]:
    return parse(FILE.read_text(encoding="utf-8"))


def installed_needs(ours: dict[str, Pin]) -> dict[str, list[str]]:
    """The requirements of each package, as this environment has it installed."""
    return {name: [] if name in NOT_HERE else metadata.requires(name) or [] for name in ours}


def test_every_package_has_hashes(ours: dict[str, Pin]) -> None:
    assert [pin.name for pin in ours.values() if not pin.hashes] == []


def test_a_compiled_package_has_a_hash_for_each_python_and_machine(ours: dict[str, Pin]) -> None:
    # No package of one version has fewer files than machines, if it has more than one.
    assert {name: len(pin.hashes) for name, pin in ours.items() if 1 < len(pin.hashes) < len(pins.MACHINES)} == {}
    for name in ("numpy", "llvmlite", "kiwisolver", "markupsafe"):
        assert len(ours[name].hashes) == len(pins.PYTHONS) * len(pins.MACHINES), name


def test_the_versions_are_those_that_setup_cfg_asks_for(ours: dict[str, Pin]) -> None:
    for one in wanted("test", "dask"):
        assert one.specifier.contains(ours[canonicalize_name(one.name)].version), one


def test_every_package_that_another_needs_is_there_and_no_other(ours: dict[str, Pin]) -> None:
    needs = installed_needs(ours)
    assert closure(wanted("test", "dask"), needs) == set(ours)
    assert closure(wanted(), needs) == {name for name, pin in ours.items() if not pin.for_tests}


def test_the_file_is_as_the_program_writes_it(ours: dict[str, Pin]) -> None:
    assert FILE.read_text(encoding="utf-8") == render(ours.values())


def test_bootstrap_knows_the_parts_and_the_pythons() -> None:
    text = (ROOT / "bootstrap.sh").read_text(encoding="utf-8")
    (line,) = re.findall(r'^TESTS="(.*)" #', text, re.M)
    assert line.replace("\\`", "`") == TESTS
    assert "ubuntu:22.04) PYTHON=/usr/bin/python3.11" in text
    assert "debian:12 | debian:13 | ubuntu:24.04" in text  # Python 3.11, 3.13 and 3.12


def test_what_is_written_is_read_again() -> None:
    made = [Pin("b", "2", {B, A}), Pin("A.c", "1", {A}), Pin("t", "3", {B}, for_tests=True)]
    text = render(iter(made))
    assert text.index("A.c==1 \\\n    --hash=") < text.index("b==2") < text.index(TESTS) < text.index("t==3")
    assert parse(text) == {"b": made[0], "a-c": made[1], "t": made[2]}


@pytest.mark.parametrize("text", ["a>=1\n", "a==1\na==2\n", "a==1 \\\n    --hash=sha256:short\n", "-e .\n"])
def test_a_line_that_pins_nothing_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"twice|neither"):
        parse(text)


def test_packages_of_some_targets_alone_are_needed() -> None:
    begin = [Requirement("a[x]")]
    needs = {
        "a": ["b; python_version >= '3.13'", "c; extra == 'x'", "d; extra == 'y'", "e; platform_machine == 'aarch64'"],
        "b": [], "c": ["a"], "e": ["f; python_version < '3.11'"],
    }  # fmt: skip
    assert closure(begin, needs) == {"a", "b", "c", "e"}
    with pytest.raises(KeyError):
        closure(begin, needs | {"c": ["missing"]})
