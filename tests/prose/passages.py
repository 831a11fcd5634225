"""Finds the text that people read: in documents, in docstrings, in messages, in `--help`.

Each passage is plain text of one heading, paragraph, list item, table cell or message.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from typer.main import get_command

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
KINDS = ("document", "header", "docstring", "message", "help")
_PARTS = {"where", "next_step"}  # keywords of errors whose texts people read
_PRINTING = {"print", "print_progress"}
_LOGGING = {"debug", "info", "warning", "error", "exception", "critical"}
_NOT_PROSE = re.compile(r"^(```.*?^```|<!--.*?-->)", re.M | re.S)
_HEADING = re.compile(r"#+ +")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_ITEM = re.compile(r"\s*([-*+]|\d+\.)\s+")
_SECTION = re.compile(r"(Args|Returns|Raises|Yields|Attributes|Note|Notes|Example|Examples):$")
_FIELD = re.compile(r"\*{0,2}\w+( \([^)]*\))?: ")


@dataclass(frozen=True, slots=True)
class Passage:
    """One heading, paragraph, list item, table cell or message.

    Attributes:
        place: file and line, or the command whose help it is.
        kind: one of KINDS; `header` is a module's docstring.
        first: it is the first paragraph of a docstring or of a command's help.
        acts: it describes a function that returns nothing, which therefore acts.
    """

    place: str
    kind: str
    text: str
    first: bool = False
    acts: bool = False


def of_document(path: Path, name: str) -> Iterator[Passage]:
    """The passages of a Markdown file. Code and comments are left out."""
    text = _NOT_PROSE.sub(lambda match: "\n" * match[0].count("\n"), path.read_text(encoding="utf-8"))
    for line, block in _blocks(_without_drawings(text)):
        yield Passage(f"{name}:{line}", "document", _plain(block))


def of_module(path: Path, name: str) -> Iterator[Passage]:
    """The passages of a Python file: docstrings, and the texts of what it raises, logs and prints."""
    tree = ast.parse(path.read_text(encoding="utf-8"), name)
    for node in ast.walk(tree):
        if isinstance(node, _Documented):
            yield from _docstring(node, name)
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield from _message(node.exc.args, name)
        elif isinstance(node, ast.Call):
            if _prints(node.func):
                yield from _message(node.args, name)
            yield from _message((each.value for each in node.keywords if each.arg in _PARTS), name)


def of_help() -> Iterator[Passage]:
    """The passages of `hoverboard --help` and of each verb's help."""
    from console.cli import app

    yield from _command(get_command(app), "hoverboard")


def _command(command: object, name: str) -> Iterator[Passage]:
    yield from _help(getattr(command, "help", None), name)
    for parameter in command.params:  # type: ignore[attr-defined]
        for passage in _help(getattr(parameter, "help", None), f"{name} {parameter.opts[0]}"):
            yield Passage(passage.place, passage.kind, passage.text, first=True)
    for each, below in getattr(command, "commands", {}).items():
        yield from _command(below, f"{name} {each}")


def _help(text: str | None, place: str) -> Iterator[Passage]:
    for number, (_, block) in enumerate(_blocks((text or "").splitlines())):
        yield Passage(place, "help", _plain(block), first=number == 0)


def _docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[Passage]:
    text = ast.get_docstring(node)
    if text is None:
        return
    kind = "header" if isinstance(node, ast.Module) else "docstring"
    begin = node.body[0].lineno
    for number, (line, block) in enumerate(_blocks(_without_drawings(text))):
        if _SECTION.match(block) or block.startswith(">>>"):
            continue
        yield Passage(
            f"{name}:{begin + line - 1}", kind, _plain(_FIELD.sub("", block, count=1) if number else block),
            first=number == 0, acts=number == 0 and _acts(node),
        )  # fmt: skip


def _without_drawings(text: str) -> list[str]:
    """The lines, with empty ones for drawings and code: paragraphs that are indented by 4 more than their item."""
    lines = []
    before, margin, drawn = "text", 0, False
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if line.strip():
            if indent == 0 and not before:
                margin = 0
            drawn = indent >= margin + 4 and (drawn or not before)
            if not drawn and (item := _ITEM.match(line)):
                margin = item.end()
        before = line.strip()
        lines.append("" if drawn else line)
    return lines


def _acts(node: ast.AST) -> bool:
    """Whether it is a function that is declared to return nothing."""
    returns = getattr(node, "returns", None)
    return isinstance(returns, ast.Constant) and returns.value in (None, "None")


def _prints(function: ast.expr) -> bool:
    """Whether a call of it shows its arguments to people: print(), or a method of a logger."""
    if isinstance(function, ast.Attribute):
        return function.attr in _LOGGING
    return isinstance(function, ast.Name) and function.id in _PRINTING


def _message(arguments: Iterable[ast.expr], name: str) -> Iterator[Passage]:
    for argument in arguments:
        for text in _texts(argument):
            if " " in text.strip():
                yield Passage(f"{name}:{argument.lineno}", "message", text)


def _texts(node: ast.expr) -> Iterator[str]:
    """The strings that an argument can be: one, or both of `a if ... else b`."""
    if isinstance(node, ast.IfExp):
        yield from (*_texts(node.body), *_texts(node.orelse))
    else:
        yield _text(node)


def _text(node: ast.expr) -> str:
    """A string as people see it, with X for each value that is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[-\d.]*[sdrfx]", "X", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "X" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return ""


def _blocks(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Headings, paragraphs, list items, cells and named fields, each with its first line's number."""
    begin, block = 0, [""]
    for number, line in enumerate([*lines, ""], 1):
        stripped = line.strip()
        ends = not stripped or stripped.startswith(("#", "|", ">>>"))
        starts = _ITEM.match(line) or (_FIELD.match(stripped) and line.startswith("    ")) or _SECTION.match(stripped)
        if (ends or starts) and any(block):
            yield begin, " ".join(block).strip()
            block = []
        if heading := _HEADING.match(line):
            yield number, line[heading.end() :]
        elif stripped.startswith("|"):
            cells = re.split(r"(?<!\\)\|", stripped.strip("|"))
            yield from ((number, cell.strip()) for cell in cells if re.search(r"[a-z]{2}", cell))
        elif not ends:
            if not any(block):
                begin, block = number, []
            block.append(_ITEM.sub("", stripped, count=1) if starts and _ITEM.match(line) else stripped)


def _plain(text: str) -> str:
    text = _LINK.sub(r"\1", text)
    return re.sub(r"[*_]{1,2}(\S[^*_]*\S)[*_]{1,2}", r"\1", text).strip()
