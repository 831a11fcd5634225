"""All that the rules are held against: the files of this project whose sentences people read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.prose import passages
from tests.prose.passages import Passage

ROOT = Path(__file__).parents[2]
PACKAGES = ("hoverboard", "controllers", "topologies", "experiments", "console", "benchmarks")


def documents() -> list[Path]:
    """Markdown files at the top, in docs/ and in vagrant/."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("vagrant/*.md")])


def modules() -> list[Path]:
    """Python files of the packages, without generated ones."""
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return sorted(path for path in files if not path.stem.endswith(("_pb2", "_pb2_grpc")))


def of(path: Path) -> Iterator[Passage]:
    """The passages of one file.

    Raises:
        ValueError: it is no Markdown or Python file of the checkout.
    """
    if not path.is_file() or path.suffix not in (".md", ".py") or not path.resolve().is_relative_to(ROOT):
        raise ValueError(f"{path}: not a Markdown or Python file of the checkout")
    name = path.resolve().relative_to(ROOT).as_posix()
    return passages.of_document(path, name) if path.suffix == ".md" else passages.of_module(path, name)


def everything() -> Iterator[Passage]:
    """The passages of all files, and of `--help`."""
    for path in (*documents(), *modules()):
        yield from of(path)
    yield from passages.of_help()
