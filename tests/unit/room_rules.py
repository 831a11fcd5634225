"""The rules of the house's rooms, over a table of them: what each breaks is named by module and line.

A room imports itself and, of what it may import, only what stands below it in the table: so nothing is imported
upwards. No module of a layer may import from its face (`source_tree.FACES`). `OLD_PATHS` are files at paths of
version 0.1 that lead to the new ones: they import nothing of ours.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from tests.unit.source_tree import FACES, Tree, arrows, imported, is_for_types, within

# What a pure room does without: time, chance, the file system's and the network's ways out, processes and threads.
IMPURE = frozenset(
    {"asyncio", "ctypes", "fcntl", "grpc", "mmap", "multiprocessing", "os", "random", "select", "shutil", "signal"}
    | {"socket", "subprocess", "tempfile", "threading", "time"}
)
# Libraries that only rooms with a word for it may know.
LIBRARIES = frozenset(
    {"cryptography", "dask", "distributed", "grpc", "jinja2", "llvmlite", "matplotlib", "mininet", "numba", "numpy"}
    | {"os_ken", "ovs", "pydantic", "pyroute2", "rich", "typer", "yaml"}
)
FACE_IMPORTS = {"__future__.annotations", "typing.TYPE_CHECKING", "hoverboard.contract.public_names.public_names"}
OLD_PATHS = ("hoverboard.fastpath.compose", "hoverboard.fastpath.warm")
# Rooms without a folder of unit tests, and why.
UNMIRRORED = {"hoverboard.contract.wire": "it is generated: tests/unit/test_generated.py compares it with its sources"}
MOST = 15  # modules of a room, unless all are the same kind of thing
LONGEST = 400  # lines of a module: as many as can be read at once


@dataclass(frozen=True)
class Room:
    """One row.

    Attributes:
        name: of a package, or of a module that has a place of its own in the order.
        may: what it may import beside itself: names, each with all below it; of that only what has a later row.
        pure: "all", names of the modules that are pure, or "all but" those that are not.
        knows: libraries of `LIBRARIES` that it may import; `library@module`: that module only.
        closed: others of its layer import the package itself, and no module of it.
        many: all its modules are the same kind of thing, and there may be any number of them.
    """

    name: str
    may: str
    pure: str = ""
    knows: str = ""
    closed: bool = False
    many: bool = False

    def is_pure(self, module: str) -> bool:
        """Whether a module of this room has to be pure."""
        words = self.pure.split()
        own = module.removeprefix(self.name).lstrip(".")
        if words[:2] == ["all", "but"]:
            return own not in words[2:]
        return words == ["all"] or own in words

    def may_know(self, library: str, module: str) -> bool:
        """Whether a module of this room may import a library."""
        own = module.removeprefix(self.name).lstrip(".")
        return any(word in (library, f"{library}@{own}") for word in self.knows.split())


Rooms = tuple[Room, ...]  # from the top down


def row(rooms: Rooms, module: str) -> int:
    """The row of a module: the longest name that it is, or stands below; -1 without one."""
    found = [(len(room.name), index) for index, room in enumerate(rooms) if within(module, room.name)]
    return max(found)[1] if found else -1


def without_a_row(rooms: Rooms, tree: Tree) -> list[str]:
    """Packages that the table does not name."""
    packages = {module if source.package else module.rpartition(".")[0] for module, source in tree.items()}
    return sorted(packages - {room.name for room in rooms})


def without_a_room(rooms: Rooms, tree: Tree) -> list[str]:
    """Rows of the table whose package or module does not exist."""
    return [room.name for room in rooms if room.name not in tree]


def unmirrored(tree: Tree, tests: Tree) -> list[str]:
    """Folders of unit tests that are no room, and rooms without a folder; folders without a module are data."""
    rooms = {module for module, source in tree.items() if source.package}
    folders = {module.rpartition(".")[0] for module, source in tests.items() if not source.package}
    mirrors = {name.removeprefix("tests.unit.") for name in folders if name.startswith("tests.unit.")}
    found = [f"tests of {name}, which is no room" for name in sorted(mirrors - rooms)]
    return found + [f"no tests of {name}" for name in sorted(rooms - mirrors - UNMIRRORED.keys())]


def forbidden(rooms: Rooms, tree: Tree) -> list[str]:
    """Imports that a room may not have: upwards, or of what it has no word for."""
    found = []
    for module, line, target in arrows(tree):
        mine, its = row(rooms, module), row(rooms, target)
        if mine == its:
            continue
        room, other = rooms[mine], rooms[its]
        if its < mine and not (target == other.name and _empty(tree, target)):
            found.append(f"{module}:{line} imports {target}: {other.name} stands above {room.name}")
        elif not any(
            within(target, name) or within(name, target) and _empty(tree, target) for name in room.may.split()
        ):
            found.append(
                f"{module}:{line} imports {target}: {room.name} may import only {room.may or 'nothing of ours'}"
            )
        elif other.closed and target != other.name and module.split(".")[0] == target.split(".")[0]:
            found.append(f"{module}:{line} imports {target}: others import {other.name} itself")
    return found


def _empty(tree: Tree, module: str) -> bool:
    """Whether a module is a package that holds nothing but what is said about it."""
    source = tree.get(module)
    return source is not None and source.package and len(ast.parse(source.text).body) <= 1


def strangers(rooms: Rooms, tree: Tree) -> list[str]:
    """Libraries in rooms that may not know them."""
    found = []
    for module, source in tree.items():
        room = rooms[row(rooms, module)]
        for line, name in imported(module, source):
            library = name.split(".")[0]
            if library in LIBRARIES and not room.may_know(library, module):
                found.append(f"{module}:{line} imports {library}: {room.name} may not know it")
    return found


def impurities(rooms: Rooms, tree: Tree) -> list[str]:
    """Imports of pure modules that they may not have."""
    return [
        f"{module}:{line} imports {name.split('.')[0]}: it is pure"
        for module, source in tree.items()
        if rooms[row(rooms, module)].is_pure(module)
        for line, name in imported(module, source)
        if name.split(".")[0] in IMPURE
    ]


def circles(tree: Tree) -> list[list[str]]:
    """Groups of modules of which each imports, by way of others, every one of the group (Tarjan's algorithm)."""
    graph: dict[str, set[str]] = {module: set() for module in tree}
    for module, _, target in arrows(tree):
        if target in tree:
            graph[module].add(target)
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        path.append(module)
        for target in sorted(graph[module]):
            if target not in number:
                visit(target)
                lowest[module] = min(lowest[module], lowest[target])
            elif target in path:
                lowest[module] = min(lowest[module], number[target])
        if lowest[module] == number[module]:
            at = path.index(module)
            if len(path) - at > 1:
                found.append(sorted(path[at:]))
            del path[at:]

    for module in sorted(graph):
        if module not in number:
            visit(module)
    return found


def pure_files(rooms: Rooms, tree: Tree) -> list[str]:
    """Files that the purity rule holds for. A room that is pure and may grow (`many`) is one entry, FOLDER/*.py."""
    found = set()
    for module, source in tree.items():
        room = rooms[row(rooms, module)]
        if room.is_pure(module):
            path = module.replace(".", "/") + ("/__init__.py" if source.package else ".py")
            found.add(f"{room.name.replace('.', '/')}/*.py" if room.many and room.pure == "all" else path)
    return sorted(found)


def moved_and_not_pure(former: Iterable[str], pure: Sequence[str]) -> list[str]:
    """Lines of a table of moves, "OLD -> NEW NEW ..", of which a new file is not among the pure ones."""
    return [
        line
        for line in former
        for new in line.partition(" -> ")[2].split() or [""]
        if not any(fnmatch(new, entry) for entry in pure)
    ]


def ill_sized(rooms: Rooms, tree: Tree) -> list[str]:
    """Rooms of one module or none, where the `__init__` has all the code, and rooms of too many modules."""
    found = []
    for package, source in tree.items():
        if not source.package or "." not in package:
            continue
        room = next((room for room in rooms if room.name == package), None)
        own = [name for name, one in tree.items() if name.rpartition(".")[0] == package and not one.package]
        packages = [name for name, one in tree.items() if name.rpartition(".")[0] == package and one.package]
        if len(own) <= 1 and not packages:
            found.append(f"{package} is a room of {'one module' if own else 'no module'}")
        if len(own) > MOST and not (room and room.many):
            found.append(f"{package} has {len(own)} modules")
    return found


def two_faced(tree: Tree) -> list[str]:
    """Faces that import something when they are imported, or tell type checkers other names than their table has."""
    found = []
    for face in FACES:
        source = tree[face]
        found += [f"{face}:{line} imports {name}" for line, name in imported(face, source) if name not in FACE_IMPORTS]
        body = ast.parse(source.text).body
        told = {
            alias.name: one.module
            for node in body
            if isinstance(node, ast.If) and is_for_types(node)
            for one in node.body
            if isinstance(one, ast.ImportFrom)
            for alias in one.names
        }
        tables = [ast.literal_eval(node.value) for node in body if isinstance(node, ast.Assign) and _is_public(node)]
        table = tables[0] if tables else None
        if told != table:
            found.append(f"{face} tells type checkers {told}, and its table has {table}")
    return found


def _is_public(node: ast.Assign) -> bool:
    return [target.id for target in node.targets if isinstance(target, ast.Name)] == ["PUBLIC"]


def grown_old_paths(tree: Tree) -> list[str]:
    """Files at old paths that import something of ours, or that a module imports."""
    return [
        f"{module}:{line} imports {target}"
        for module, line, target in arrows(tree)
        if module in OLD_PATHS or target in OLD_PATHS
    ]


def too_long(tree: Tree) -> dict[str, int]:
    """Lines of the modules that have too many, by name; what a compiler of interfaces wrote does not count."""
    lines = {module: len(source.text.splitlines()) for module, source in tree.items() if "_pb2" not in module}
    return {module: count for module, count in lines.items() if count > LONGEST}
