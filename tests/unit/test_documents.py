"""What documents point at is there: links, headings, files of the code, the glossary's places."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import rooms_picture
from tests.prose.collection import ROOT, documents

_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
_PLACE = re.compile(
    r"`((?:hoverboard|controllers|topologies|experiments|console|benchmarks|tests|docs|vagrant)/[\w./-]*)`"
)
_FENCED = re.compile(r"^```.*?^```$", re.M | re.S)
_ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", re.M)


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.*)$", _FENCED.sub("", text(path)), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_link_resolves(path: Path) -> None:
    for link in _LINK.findall(_FENCED.sub("", text(path))):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_file_that_is_named_exists(path: Path) -> None:
    if path.name == "CHANGELOG.md":  # what was there
        return
    missing = [name for name in _PLACE.findall(text(path)) if not (ROOT / name).exists()]
    assert not missing


def test_the_glossary_has_for_each_term_a_sentence_and_a_place() -> None:
    glossary = text(ROOT / "docs/README.md").split("## Glossary")[1]
    rows = [row for row in _ROW.findall(glossary) if row[0] != "term" and not row[0].startswith("--")]
    assert len(rows) > 40
    for term, meaning, section, place in rows:
        assert meaning.endswith("."), term
        assert re.fullmatch(r"-|[\d., ]+", section), term
        assert _PLACE.search(place), term
    assert [term for term, *_ in rows if [each for each, *_ in rows].count(term) > 1] == []


def test_every_document_is_in_the_way_in() -> None:
    listed = set(_LINK.findall(text(ROOT / "docs/README.md")))
    assert {path.name for path in ROOT.glob("docs/*.md")} - {"README.md"} <= listed


def test_the_picture_of_the_rooms_is_current() -> None:
    drawn = rooms_picture.picture(text(ROOT / "docs/architecture.md"))
    assert text(ROOT / "docs/rooms.svg") == drawn, "python -m tests.rooms_picture > docs/rooms.svg"
    assert drawn.count('class="room"') > 50
