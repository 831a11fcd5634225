"""The rules for sentences, each as a function from a passage to what breaks it.

They hold what a program can see: length, openings, words. What they cannot see stands in CONTRIBUTING.md, "Sentences".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tests.prose.passages import Passage

WORDS = 25
OPENINGS = {"What", "Who", "Whose", "Whoever", "Of", "Another", "Some", "Nothing", "Nobody"}
FORBIDDEN = (
    "nobody", "somebody", "whoever", "everybody", "likewise", "anew", "as ever", "for ever", "forever",
    "lest", "told", "heard", "acked",
    "turn down", "turns down", "turned down", "hand over", "hands over", "handed over",
)  # fmt: skip
# First words with which no order begins: articles, pronouns, prepositions.
_NO_VERB = (
    "a an the that this these those it its they their there each every all both either neither "
    "in at on to from by with without within as if when where while before after until since because so "
    "how why which whether not no one two whatever"
)
NO_VERB = frozenset(_NO_VERB.split(" "))
_CODE = re.compile(r"`[^`]*`")
# A sentence may begin with a small letter: "iperf3 prints ...".
_ABBREVIATIONS = ("e.g.", "i.e.", " vs.", "etc.", "cf.", "Fig.", "Figs.", "No.", "Sec.", "et al.", "...")
_END = re.compile(rf"(?<=[.!?]){''.join(f'(?<!{re.escape(each)})' for each in _ABBREVIATIONS)}[)\"']?\s+(?=\S)")
_WORD = re.compile(r"[^\W_](?:[\w'.,/:-]*\w)?")
_FORBIDDEN = re.compile(rf"\b({'|'.join(FORBIDDEN)})\b", re.I)


def sentences(text: str) -> list[str]:
    """A passage's sentences. A colon or semicolon ends none."""
    return [sentence for sentence in _END.split(text) if sentence]


def words(sentence: str) -> int:
    """The number of words; a piece of code is one."""
    return len(_WORD.findall(_CODE.sub("code", sentence)))


def too_long(passage: Passage) -> Iterator[str]:
    """Sentences of more than WORDS words."""
    for sentence in sentences(passage.text):
        if (count := words(sentence)) > WORDS:
            yield f"{count} words: {sentence[:60]}"


def opening(passage: Passage) -> Iterator[str]:
    """A docstring or a help text that begins with a riddle instead of a subject or a verb."""
    word = _first(passage.text)
    if passage.first and word in OPENINGS:
        yield f"begins with {word}: {passage.text[:60]}"


def no_verb(passage: Passage) -> Iterator[str]:
    """A function that returns nothing acts: its docstring begins with a verb."""
    word = _first(passage.text)
    if passage.acts and word.lower() in NO_VERB:
        yield f"acts, and does not begin with a verb: {passage.text[:60]}"


def forbidden(passage: Passage) -> Iterator[str]:
    """Words for which the project has a plainer one."""
    for match in _FORBIDDEN.finditer(_CODE.sub("", passage.text)):
        yield f"'{match[0].lower()}': {passage.text[max(match.start() - 25, 0) : match.end() + 25]}"


def _first(text: str) -> str:
    match = re.match(r"[\"'(]*([A-Za-z]+)", text)
    return match[1] if match else ""


RULES: tuple[Callable[[Passage], Iterator[str]], ...] = (too_long, opening, no_verb, forbidden)


def broken(passage: Passage) -> Iterator[tuple[str, str]]:
    """The rules that a passage breaks: (name of the rule, what breaks it)."""
    for rule in RULES:
        yield from ((rule.__name__, what) for what in rule(passage))
