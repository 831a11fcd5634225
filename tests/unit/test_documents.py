"""What documents point at is there: links, headings, files and modules of the code, the glossary's places."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests import rooms_picture
from tests.prose.collection import PACKAGES, ROOT, documents

_TOP = "|".join((*PACKAGES, "tests", "docs", "vagrant"))
# The target of a link, with or without a title; of a reference; of an attribute of HTML.
_TARGETS = (
    r"\]\(\s*<?(?P<link>[^)>\"\n]+?)>?(?:\s+\"[^\"]*\")?\s*\)",
    r"^ *\[[^\]]+\]: *<?(?P<reference>[^>\"\n]+?)>?(?: +\".*)?$",
    r"<\w+ [^>]*?\b(?:href|src)=[\"'](?P<attribute>[^\"']*)",
)
_TARGET = re.compile("|".join(_TARGETS), re.M)
_ELSEWHERE = ("https:", "http:", "mailto:")
_REFERENCE = re.compile(r"\[[^\]]+\]\[([^\]]+)\]")
_PLACE = re.compile(rf"`((?:{_TOP})/[\w./-]*)(?=[`:# ])")
_MODULE = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.\w+)+)(?:\(\))?`")
_FENCED = re.compile(r"^```.*?^```$", re.M | re.S)
_QUOTED = re.compile(r"`[^`\n]*`")
_ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", re.M)
# Sections of the paper.
_SECTIONS = {
    *"123456789", "3.1", "3.2", "3.3", "3.3.1", "3.4", "3.5", "4.1", "4.2", "4.3", "4.3.1", "4.4", "5.1", "5.2", "5.3",
    "6.1", "6.2", "6.3",
}  # fmt: skip
# Dotted names that are no modules: a group of entry points.
_GROUPS = {"hoverboard.stages"}


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.*)$", _FENCED.sub("", text(path)), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def prose(path: Path) -> str:
    """A document without code."""
    return _QUOTED.sub("code", _FENCED.sub("", text(path)))


def links(path: Path) -> list[str]:
    """The targets of a document's links, images and references, without those on other servers."""
    found = [unquote(match[match.lastgroup or 0]) for match in _TARGET.finditer(prose(path))]
    return [target for target in found if not target.startswith(_ELSEWHERE)]


def broken_links(path: Path, root: Path = ROOT) -> list[str]:
    """The links that lead nowhere, or out of the checkout; references that nothing defines."""
    broken = []
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not (target.exists() and target.is_relative_to(root)) or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken + [name for name in _REFERENCE.findall(prose(path)) if f"[{name}]: " not in prose(path)]


def missing_places(written: str) -> list[str]:
    """Files, folders and modules that a text names in backticks and the checkout does not have."""
    files = [name for name in _PLACE.findall(written) if not (ROOT / name).exists()]
    return files + [name for name in _MODULE.findall(written) if name not in _GROUPS and not is_in_code(name)]


def is_in_code(name: str) -> bool:
    """Whether a dotted name is a package or module, or a name that its module has."""
    path, attribute = ROOT / name.replace(".", "/"), name.rpartition(".")[2]
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    above = path.parent / "__init__.py" if path.parent.is_dir() else path.parent.with_suffix(".py")
    return above.exists() and re.search(rf"\b{attribute}\b", text(above)) is not None


def wrong_in_row(meaning: str, section: str, place: str) -> list[str]:
    """The cells of a glossary's row that are not a sentence, sections of the paper, and files or rooms."""
    wrong = [] if meaning.endswith(".") else [meaning]
    if section != "-" and not set(section.split(", ")) <= _SECTIONS:
        wrong.append(section)
    places = _PLACE.findall(place)
    if not places or not all((ROOT / each).is_file() or is_room(each) for each in places):
        wrong.append(place)
    return wrong


def is_room(place: str) -> bool:
    """Whether it is a layer or one of its rooms: a package."""
    return place.split("/")[0] in PACKAGES and (ROOT / place / "__init__.py").exists()


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_link_resolves(path: Path) -> None:
    assert broken_links(path) == []


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_place_that_is_named_exists(path: Path) -> None:
    if path.name == "CHANGELOG.md":  # what was there
        return
    assert missing_places(text(path)) == []


def test_the_glossary_has_for_each_term_a_sentence_and_a_place() -> None:
    glossary = text(ROOT / "docs/README.md").split("## Glossary")[1]
    rows = [row for row in _ROW.findall(glossary) if row[0] != "term" and not row[0].startswith("--")]
    assert len(rows) > 40
    for term, *cells in rows:
        assert wrong_in_row(*cells) == [], term
    assert [term for term, *_ in rows if [each for each, *_ in rows].count(term) > 1] == []


def test_every_document_is_in_the_way_in() -> None:
    assert {path.name for path in ROOT.glob("docs/*.md")} - {"README.md"} <= set(links(ROOT / "docs/README.md"))


def test_the_picture_of_the_rooms_is_current() -> None:
    drawn = rooms_picture.picture(text(ROOT / "docs/architecture.md"))
    assert text(ROOT / "docs/rooms.svg") == drawn, "python -m tests.rooms_picture > docs/rooms.svg"
    assert drawn.count('class="room"') > 50


@pytest.mark.parametrize(
    ("link", "broken"),
    [
        ("[x](nosuch.md)", "nosuch.md"),
        ('[x](nosuch.md "title")', "nosuch.md"),
        ("[x](<nosuch file.md>)", "nosuch file.md"),
        ("[x](no%20such.md)", "no such.md"),
        ("[![x](there.md)](nosuch.md)", "nosuch.md"),
        ("[x][r]\n\n[r]: nosuch.md", "nosuch.md"),
        ("[x][r]\n\n[r]: <nosuch.md> \"title\"", "nosuch.md"),
        ("[x][r]", "r"),
        ('<a class="b" href="nosuch.md">x</a>', "nosuch.md"),
        ("<img src='nosuch.png'>", "nosuch.png"),
        ("[x](there.md#nosuch)", "there.md#nosuch"),
        ("[x](#nosuch)", "#nosuch"),
        ("[x](../)", "../"),
    ],
)  # fmt: skip
def test_a_link_to_nothing_is_found(tmp_path: Path, link: str, broken: str) -> None:
    (tmp_path / "there.md").write_text("# A heading\n")
    page = tmp_path / "page.md"
    page.write_text(f"A page with {link}\n" if not link.startswith("<") else f"{link}\n")
    assert broken_links(page, tmp_path) == [broken]


def test_links_to_what_is_there_are_not_broken(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading, here\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Top\n[a](there.md) [b](there.md#a-heading-here) [c](#top) [d](<there.md> \"title\") [e][r]\n"
        "`[x](nosuch.md)` [f](https://example.org/nosuch.md)\n\n[r]: there.md\n\n```text\n[x](nosuch.md)\n```\n"
    )  # fmt: skip
    assert broken_links(page, tmp_path) == []


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("hoverboard/nosuch.py", False),
        ("hoverboard/nosuch.py:12", False),
        ("hoverboard/nosuch.py#L12", False),
        ("tests/nosuch --all", False),
        ("hoverboard/host/process.py:12", True),
        ("tests/unit/test_documents.py::test_every_link_resolves", True),
        ("hoverboard.nosuch.module", False),
        ("hoverboard.host.nosuch", False),
        ("hoverboard.host.process", True),
        ("hoverboard.contract", True),
        ("topologies.spec.topology.Topology", True),
        ("topologies.spec.topology.Nosuch", False),
        ("hoverboard.stages", True),
    ],
)
def test_a_place_that_is_not_there_is_found(name: str, there: bool) -> None:
    assert (missing_places(f"See `{name}`.") == []) is there


@pytest.mark.parametrize(
    ("meaning", "section", "place", "wrong"),
    [
        ("A thing.", "3.1, 4", "`controllers/fm/`, `hoverboard/host/process.py`", 0),
        ("A thing.", "-", "`controllers/fm/`", 0),
        ("A thing", "-", "`controllers/fm/`", 1),
        ("A thing.", "3.9", "`controllers/fm/`", 1),
        ("A thing.", "3.1 4", "`controllers/fm/`", 1),
        ("A thing.", "-", "somewhere", 1),
        ("A thing.", "-", "`docs/`", 1),
        ("A thing.", "-", "`tests/unit/`", 1),
        ("A thing.", "-", "`controllers/fm/`, `hoverboard/nosuch.py`", 1),
    ],
)
def test_a_wrong_row_of_the_glossary_is_found(meaning: str, section: str, place: str, wrong: int) -> None:
    assert len(wrong_in_row(meaning, section, place)) == wrong
