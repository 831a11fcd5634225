"""Sentences that people read keep the rules of `tests/prose`; the exceptions only get fewer."""

from __future__ import annotations

import textwrap
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from tests.prose import __main__ as program
from tests.prose import collection, passages, rules
from tests.prose.passages import Passage

EXCEPTIONS = Path(__file__).with_name("prose_exceptions.toml")
# Only ever lower it.
MOST = 0


def excepted() -> Counter[tuple[str, str, str]]:
    """The exceptions: file, rule, and the start of the sentence."""
    entries = tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8")).get("exception", [])
    return Counter((entry["file"], entry["rule"], entry["what"]) for entry in entries)


def test_every_sentence_keeps_the_rules() -> None:
    found: dict[tuple[str, str, str], str] = {}
    for passage in collection.everything():
        for rule, what in rules.broken(passage):
            found[passage.place.split(":")[0], rule, what] = f"{passage.place}: {rule}: {what}"
    exceptions = excepted()
    new = [text for key, text in found.items() if key not in exceptions]
    assert not new, "say it more plainly (CONTRIBUTING.md, Sentences):\n" + "\n".join(new)
    assert not exceptions.keys() - found.keys(), "exceptions that are no longer needed"


def test_the_exceptions_only_get_fewer() -> None:
    exceptions = excepted()
    assert len(exceptions) == exceptions.total() <= MOST


def test_every_kind_of_text_is_looked_at() -> None:
    kinds = Counter(passage.kind for passage in collection.everything())
    assert set(kinds) == set(passages.KINDS)
    assert min(kinds.values()) > 100


def rules_broken(text: str, **more: object) -> list[str]:
    return [rule for rule, _ in rules.broken(Passage("here", "docstring", text, **more))]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "more", "expected"),
    [
        (" ".join(["word"] * 25) + ".", {}, []),
        (" ".join(["word"] * 26) + ".", {}, ["too_long"]),
        (" ".join(["word"] * 20) + ". " + " ".join(["Word"] * 20) + ".", {}, []),
        (" ".join(["word"] * 20) + "; " + " ".join(["word"] * 20) + ".", {}, ["too_long"]),
        ("Count `a b c d e f g h i j k l m n o p q r s t u v w x y z` as one word.", {}, []),
        ("What a host sends.", {"first": True}, ["opening"]),
        ("What a host sends.", {}, []),
        ("`What` a host sends.", {"first": True}, []),
        ("The flows of a host.", {"first": True, "acts": True}, ["no_verb"]),
        ("Install the flows of a host.", {"first": True, "acts": True}, []),
        ("The host told nobody.", {}, ["forbidden", "forbidden"]),
        ("The element is called `nobody`.", {}, []),
        ("It was untold.", {}, []),
        ("The port turned down the frame, which it hands over.", {}, ["forbidden", "forbidden"]),
        (" ".join(["word"] * 20) + ". iperf3 prints " + " ".join(["word"] * 20) + ".", {}, []),
        (" ".join(["word"] * 20) + ", see Fig. 3, No. A and et al. " + " ".join(["word"] * 4) + ".", {}, ["too_long"]),
        (" ".join(["word"] * 20) + ", e.g. " + " ".join(["word"] * 20) + ".", {}, ["too_long"]),
    ],
)
def test_each_rule(text: str, more: dict[str, bool], expected: list[str]) -> None:
    assert rules_broken(text, **more) == expected


MODULE = '''
"""A header.

Its second paragraph.
"""
class A:
    """A class."""
    def f(self, x: int) -> None:
        """Go on.

        Args:
            x: an argument.
                It goes on.
        """
        print("read it" if x else "read both of them", f"{x} words")
        raise InputError(f"no {x} here", "word", where="the first line", next_step=f"write {x}, or leave it out")
    def g(self) -> int:
        """The number."""
        log.warning("lost %d of %s", 1, 2)
        raise ValueError("a long " + "message")
    def h(self) -> str:
        return failure("no message here", where="file.py", next_step="do this", title="nor this")
    def i(self) -> "None":
        """Act."""
'''


def test_the_passages_of_a_module(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(MODULE)
    found = {(each.kind, each.text, each.first, each.acts) for each in passages.of_module(path, "module.py")}
    assert found == {
        ("header", "A header.", True, False),
        ("header", "Its second paragraph.", False, False),
        ("docstring", "A class.", True, False),
        ("docstring", "Go on.", True, True),
        ("docstring", "an argument. It goes on.", False, False),
        ("docstring", "The number.", True, False),
        ("docstring", "Act.", True, True),
        ("message", "no X here", False, False),
        ("message", "lost X of X", False, False),
        ("message", "read both of them", False, False),
        ("message", "read it", False, False),
        ("message", "X words", False, False),
        ("message", "the first line", False, False),
        ("message", "write X, or leave it out", False, False),
        ("message", "a long message", False, False),
        ("message", "do this", False, False),
    }


DOCUMENT = """
## A heading
A paragraph of
two lines with a [link](to.md), *stress* and a_name.

- An item.
- Another
  of two lines.

| Name | A cell |
|------|--------|
| `x`  | Words here |

```sh
code
```
<!-- a
comment -->

    indented code

1. An item
   - within an item

    and more of the first.

           code of the item

No item.

    indented code
"""


def test_the_passages_of_a_document(tmp_path: Path) -> None:
    path = tmp_path / "document.md"
    path.write_text(DOCUMENT)
    assert [(each.place, each.text) for each in passages.of_document(path, "d.md")] == [
        ("d.md:2", "A heading"),
        ("d.md:3", "A paragraph of two lines with a link, stress and a_name."),
        ("d.md:6", "An item."),
        ("d.md:7", "Another of two lines."),
        ("d.md:10", "Name"),
        ("d.md:10", "A cell"),
        ("d.md:12", "Words here"),
        ("d.md:22", "An item"),
        ("d.md:23", "within an item"),
        ("d.md:25", "and more of the first."),
        ("d.md:29", "No item."),
    ]


def test_the_place_of_a_passage_is_its_line(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        '"""One."""\n\n\n'
        + textwrap.dedent('''
        def f() -> int:
            """The one.

            The other.
            """
    ''').lstrip()
    )
    assert [each.place for each in passages.of_module(path, "m.py")] == ["m.py:1", "m.py:5", "m.py:7"]


def test_a_file_that_cannot_be_read_is_named_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "outside.md").write_text("A sentence.\n")
    for name in ("nosuch.md", "docs", "LICENSE", "/etc/passwd", str(tmp_path / "outside.md")):
        assert program.main([name]) == 2
        assert capsys.readouterr().err == f"tests.prose: {name}: not a Markdown or Python file of the checkout\n"


def test_the_program_lists_what_it_finds(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([str(collection.ROOT / "tests/prose/__init__.py")]) == 0
    assert capsys.readouterr() == ("", "0 found\n")


def test_the_help_of_each_verb_is_looked_at() -> None:
    places = {passage.place for passage in passages.of_help()}
    assert {"hoverboard", "hoverboard up", "hoverboard up --check", "hoverboard vm add"} <= places


def test_the_page_of_the_virtual_machine_is_looked_at() -> None:
    assert collection.ROOT / "vagrant" / "README.md" in collection.documents()
