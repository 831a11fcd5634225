"""Writes constraints.txt: `hoverboard python -m tests.pins` finds the hashes of all packages, for every target.

Change or add a version in constraints.txt by hand, then type that command. It asks pip, as the machine configures it,
for the file of each package on each supported Python and machine. It stops when a package is missing.
"""

from __future__ import annotations

import configparser
import json
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "constraints.txt"
# Debian 12 and Ubuntu 22.04, Ubuntu 24.04, Debian 13 (bootstrap.sh, check_release).
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
_OLDEST_C_LIBRARY, _C_LIBRARY = 5, 35  # glibc 2.35 is Ubuntu 22.04's, the oldest of the four
HEAD = """\
# Every Python package that bootstrap.sh may install, direct or not, at the version the project was tested with, and the
# hashes of its files for each supported Python and machine. `hoverboard python -m tests.pins` writes the hashes.
"""
TESTS = "# --- what `bootstrap.sh test` adds"  # bootstrap.sh cuts the file here
_PIN = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[^\s\\]+)")
_HASH = re.compile(r"--hash=(?P<hash>sha256:[0-9a-f]{64})")


@dataclass
class Pin:
    """A package of constraints.txt.

    Attributes:
        name: as written there.
        version: the version.
        hashes: of its files, "sha256:...".
        for_tests: whether only tests need it.
    """

    name: str
    version: str
    hashes: set[str] = field(default_factory=set)
    for_tests: bool = False


def parse(text: str) -> dict[str, Pin]:
    """The packages of constraints.txt, by their canonical names.

    Raises:
        ValueError: a line is neither a comment nor a pin nor a hash, or a package stands there twice.
    """
    pins: dict[str, Pin] = {}
    last, for_tests = None, False
    for line in text.splitlines():
        for_tests = for_tests or line == TESTS
        words = line.split("#")[0].removesuffix("\\").split()
        for word in words:
            if found := _HASH.fullmatch(word):
                assert last is not None, line
                last.hashes.add(found["hash"])
            elif found := _PIN.fullmatch(word):
                last = Pin(found["name"], found["version"], for_tests=for_tests)
                if pins.setdefault(canonicalize_name(last.name), last) is not last:
                    raise ValueError(f"twice: {last.name}")
            else:
                raise ValueError(f"neither a version nor a hash: {line}")
    return pins


def render(pins: Iterable[Pin]) -> str:
    """The text of constraints.txt."""
    parts, ordered = [HEAD], sorted(pins, key=lambda one: canonicalize_name(one.name))
    for for_tests in (False, True):
        if for_tests:
            parts.append(f"{TESTS}\n")
        for pin in ordered:
            if pin.for_tests == for_tests:
                hashes = "".join(f" \\\n    --hash={one}" for one in sorted(pin.hashes))
                parts.append(f"{pin.name}=={pin.version}{hashes}\n")
    return "".join(parts)


def wanted(*extras: str) -> list[Requirement]:
    """The requirements of setup.cfg, with those of extras."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    texts = [config["options"]["install_requires"], *(config["options.extras_require"][one] for one in extras)]
    return [Requirement(line) for text in texts for line in text.splitlines() if line.strip()]


def environments() -> list[dict[str, str]]:
    """The values of markers on each target."""
    return [
        {name: str(value) for name, value in default_environment().items()}
        | {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine, "extra": ""}
        for python, machine in product(PYTHONS, MACHINES)
    ]


def closure(begin: Iterable[Requirement], needs: Mapping[str, list[str]]) -> set[str]:
    """The canonical names of all packages that some target installs.

    Args:
        begin: the requirements of the project.
        needs: what each package requires, by its canonical name.

    Raises:
        KeyError: a package that is not in `needs`.
    """
    found: set[str] = set()
    for environment in environments():
        seen: set[tuple[str, str]] = set()
        open_ = [(one, "") for one in begin]
        while open_:
            requirement, extra = open_.pop()
            if requirement.marker is not None and not requirement.marker.evaluate(environment | {"extra": extra}):
                continue
            name = canonicalize_name(requirement.name)
            for one in ("", *requirement.extras):
                if (name, one) not in seen:
                    seen.add((name, one))
                    open_ += [(Requirement(text), one) for text in needs[name]]
        found |= {name for name, _ in seen}
    return found


def ask_pip(pins: Iterable[Pin], python: str, machine: str) -> list[dict[str, object]]:
    """The packages that pip would install on a target: a list with `metadata` and `download_info` of each."""
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(_C_LIBRARY, _OLDEST_C_LIBRARY - 1, -1)]
    tags += [f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}", f"linux_{machine}"]
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder, "names.txt")
        names.write_text("".join(f"{one.name}=={one.version}\n" for one in pins), encoding="utf-8")
        report = Path(folder, "report.json")
        subprocess.run(
            [sys.executable, "-P", "-m", "pip", "--isolated", "install", "--quiet", "--disable-pip-version-check",
             "--dry-run", "--ignore-installed", "--no-deps", "--target", f"{folder}/none", "--implementation", "cp",
             "--python-version", python, *(f"--platform={tag}" for tag in tags), "--report", str(report),
             "--requirement", str(names)],
            check=True, cwd=folder,
        )  # fmt: skip
        return list(json.loads(report.read_text(encoding="utf-8"))["install"])


def main() -> None:
    """Find the hashes for all targets, and write the file."""
    pins = parse(FILE.read_text(encoding="utf-8"))
    for pin in pins.values():
        pin.hashes = set()
    needs: dict[str, list[str]] = {}
    sources = set()
    for python, machine in product(PYTHONS, MACHINES):
        print(f"asking pip for Python {python}, {machine}", flush=True)
        for one in ask_pip(pins.values(), python, machine):
            name = canonicalize_name(one["metadata"]["name"])
            needs[name] = one["metadata"].get("requires_dist", [])
            info = one["download_info"]
            pins[name].hashes.add(info["archive_info"]["hash"].replace("=", ":"))
            if not info["url"].endswith(".whl"):
                sources.add(name)
    try:
        base, all_ = closure(wanted(), needs), closure(wanted("test", "dask"), needs)
    except KeyError as missing:
        sys.exit(f"constraints.txt has no version of {missing}: add a line NAME==VERSION")
    for name, pin in pins.items():
        pin.for_tests = name not in base
    FILE.write_text(render(pin for name, pin in pins.items() if name in all_), encoding="utf-8")
    print(f"not needed, and left out: {', '.join(sorted(pins.keys() - all_)) or 'none'}")
    print(f"built from source, as bootstrap.sh names them: {', '.join(sorted(sources))} (with {platform.platform()})")


if __name__ == "__main__":
    main()
