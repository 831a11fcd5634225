"""Each block of a document has a language, and says how it is tested. The few that no test runs are listed here."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import documented
from tests.documented import Block

PAGES = documented.pages()
each_page = pytest.mark.parametrize("page", PAGES)

SHOWN = {
    "CONTRIBUTING.md": ["a test cannot run all tests"],
    "docs/experiments.md": ["several machines"],
    "docs/reproduction.md": ["half an hour; experiments.md runs all of it with --quick"],
    "docs/set-up.md": ["a test of the long ring types them as an ordinary user"],
    "docs/testing.md": ["tests/system/test_mutate.py runs tests/mutate"],
    "vagrant/README.md": ["needs Vagrant and a hypervisor"],
}


@each_page
def test_no_block_is_indented(page: str) -> None:
    assert documented.indented(PAGES[page]) == []


@each_page
def test_each_block_has_a_language_and_all_but_output_a_mark(page: str) -> None:
    for block in documented.blocks(PAGES[page]):
        assert block.faults() == [], block.place


@each_page
def test_each_file_is_used_after_it(page: str) -> None:
    found = documented.blocks(PAGES[page])
    for number, block in enumerate(found, 1):
        if block.file:
            assert any(later.uses(block.file) for later in found[number:]), block.place


@each_page
def test_a_part_of_a_file_stands_in_it(page: str) -> None:
    for block in documented.blocks(PAGES[page]):
        if block.part_of:
            assert block.text in (documented.ROOT / block.part_of).read_text(encoding="utf-8"), block.place


@each_page
def test_commands_name_the_one_python_of_all_documents(page: str) -> None:
    for block in documented.blocks(PAGES[page]):
        for command in block.commands() if block.language == "sh" else []:
            bare = re.search(r"(?<!hoverboard )\bpython3? |sudo -E", command)
            assert not bare, f"{block.place}: {command}: `hoverboard python` is the Python of documents"


def test_blocks_that_no_test_runs_are_these() -> None:
    shown = {
        page: [block.shown for block in documented.blocks(path) if block.shown is not None]
        for page, path in PAGES.items()
    }
    assert {page: reasons for page, reasons in shown.items() if reasons} == SHOWN


def test_only_readme_is_typed_in_a_clone() -> None:
    for page, path in PAGES.items():
        marks = {block.mark for block in documented.blocks(path)}
        assert page == "README.md" or not marks & {documented.FROM_CLONE, documented.TEST_COMMAND}, page


PAGE = """\
A page.

<!-- tested: one.yaml -->
```yaml
hosts: 2

    deep: 1
```

<!-- tested -->
```sh
# a comment
hoverboard up one.yaml \\
  --check   # now

sleep 1 &
```

```text
output
```

- an item

    indented

1. a step

   ```sh
   ls
   ```
"""


def test_blocks_are_found_with_their_marks(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text(PAGE)
    yaml, sh, text = documented.blocks(file)
    assert yaml == Block("page.md:4", "tested: one.yaml", "yaml", "hosts: 2\n\n    deep: 1\n")
    assert (yaml.file, yaml.shown, yaml.is_marked) == ("one.yaml", None, True)
    assert (sh.mark, sh.file, sh.is_marked) == ("tested", None, True)
    assert sh.commands() == ["hoverboard up one.yaml    --check   # now", "sleep 1 &"]
    assert (text.mark, text.language, text.is_marked) == ("", "text", False)
    assert documented.indented(file) == ["page.md:25", "page.md:29", "page.md:31"]


@pytest.mark.parametrize(
    ("mark", "marked"),
    [("tested", True), ("tested: long", True), ("tested: a.py", True), ("shown: two machines", True),
     ("part of docs/api.md", True), ("tested: ", False), ("shown: ", False), ("tested by hand", False)],
)  # fmt: skip
def test_a_mark_is_one_of_the_known_ones(mark: str, marked: bool) -> None:
    assert Block("page.md:1", mark, "sh", "").is_marked is marked


@pytest.mark.parametrize(
    ("mark", "language", "text", "faults"),
    [("tested", "sh", "ls\n", 0), ("a.yaml", "text", "ls\n", 1), ("", "text", "ls\n", 0), ("", "text", "\n", 1),
     ("", "sh", "ls\n", 1), ("tested", "python", "ls\n", 1), ("tested: long", "yaml", "ls\n", 1),
     ("tested: fails", "toml", "ls\n", 1), ("test command", "python", "ls\n", 1), ("tested", "bash", "ls\n", 2),
     ("tested: a.yaml", "sh", "ls\n", 1), ("part of README.md", "sh", "ls\n", 1),
     ("part of README.md", "yaml", "", 1), ("shown: a reason", "python", "ls\n", 0)],
)  # fmt: skip
def test_a_wrong_block_is_found(mark: str, language: str, text: str, faults: int) -> None:
    assert len(Block("page.md:1", mark, language, text).faults()) == faults


@pytest.mark.parametrize(
    ("language", "text", "uses"),
    [("sh", "hoverboard up one.yaml\n", True), ("python", "open('work/one.yaml')\n", True),
     ("sh", "# one.yaml\n", False), ("sh", "hoverboard up   # one.yaml\n", False),
     ("sh", "hoverboard up stone.yaml\n", False), ("text", "one.yaml\n", False)],
)  # fmt: skip
def test_a_file_is_used_by_code_and_not_by_a_comment(language: str, text: str, uses: bool) -> None:
    assert Block("page.md:1", "", language, text).uses("one.yaml") is uses


@pytest.mark.parametrize("find", [documented.blocks, documented.indented])
def test_a_fence_that_is_not_closed_is_an_error(tmp_path: Path, find: Callable[[Path], object]) -> None:
    (tmp_path / "page.md").write_text("A page.\n\n```sh\nls\n")
    with pytest.raises(ValueError, match=r"page\.md:3: the fence is not closed"):
        find(tmp_path / "page.md")


def typed(tmp_path: Path, text: str, *marks: str, seconds: float = 20) -> None:
    tmp_path.mkdir(exist_ok=True)
    file = tmp_path / "page.md"
    file.write_text(text)
    environment = documented.checkout_environment(tmp_path / "bin")
    documented.type_blocks(documented.blocks(file), marks, tmp_path, environment, seconds=seconds)


def test_files_are_written_and_commands_typed_in_order(tmp_path: Path) -> None:
    page = (
        "<!-- tested: a.txt -->\n```yaml\none\n```\n"
        "<!-- tested -->\n```sh\ncp a.txt b.txt   # both\ncat b.txt >>c.txt\n```\n"
        "<!-- tested: long -->\n```sh\necho long >>c.txt\n```\n"
    )
    typed(tmp_path, page, documented.QUICK)
    assert (tmp_path / "c.txt").read_text() == "one\n"


def test_a_command_that_fails_is_named_with_what_it_printed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:2: sudo ls absent: exit code 2\n.*absent"):
        typed(tmp_path, "<!-- tested -->\n```sh\nsudo ls absent\n```\n", documented.QUICK)


def test_a_command_that_should_fail_does(tmp_path: Path) -> None:
    page = "<!-- tested: fails -->\n```sh\nfalse\n```\n"
    typed(tmp_path, page, documented.FAILS)
    with pytest.raises(AssertionError, match=r"page\.md:2: true: exit code 0"):
        typed(tmp_path / "again", page.replace("false", "true"), documented.FAILS)


@pytest.mark.parametrize("mark", documented.IN_CI)
def test_a_program_that_is_not_there_never_passes(tmp_path: Path, mark: str) -> None:
    for number, (command, code) in enumerate([("absent-program", 127), ("/etc/passwd", 126)]):
        with pytest.raises(AssertionError, match=f"exit code {code}"):
            typed(tmp_path / str(number), f"<!-- {mark} -->\n```sh\n{command}\n```\n", mark)


def test_each_command_of_a_pipe_has_to_succeed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="exit code 2"):
        typed(tmp_path, "<!-- tested -->\n```sh\nls absent | cat\n```\n", documented.QUICK)


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    for mark in documented.IN_CI:
        with pytest.raises(AssertionError, match="exit code -15"):
            typed(tmp_path / mark, f"<!-- {mark} -->\n```sh\nsleep 100\n```\n", mark, seconds=0.2)


def test_a_command_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    page = "<!-- tested -->\n```sh\nread line <pipe && echo $line >line &\necho late >pipe\n```\n"
    page = page.replace("```sh\n", "```sh\nmkfifo pipe\n")
    typed(tmp_path, page, documented.QUICK)


@pytest.mark.parametrize(
    ("command", "passes"),
    [("echo MISSED -m benchmarks.x; exit 1", True), ("echo -m benchmarks.x; exit 1", False),
     ("echo MISSED -m benchmarks.x; exit 2", False), ("echo MISSED; exit 1", False)],
)  # fmt: skip
def test_a_benchmark_may_miss_a_bar_and_may_not_fail(tmp_path: Path, command: str, passes: bool) -> None:
    page = f"<!-- tested -->\n```sh\n{command}\n```\n"
    if passes:
        typed(tmp_path, page, documented.QUICK)
    else:
        with pytest.raises(AssertionError):
            typed(tmp_path, page, documented.QUICK)
