"""All mutants of a module's source: each one small change, as text. Pure; reads no file.

The changes are those that found holes in these tests before: comparisons, `and`/`or`, dropped operands, negations,
arithmetic, constants, removed calls, assignments, raises and jumps, swapped arguments, dropped keyword arguments,
early returns, dropped exceptions and context managers.
Left out is what no test should look at: annotations, docstrings, the text of errors and logs, assertions.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator

from tests.mutation.syntax import TEXTS, Function, bindings, head, is_docstring, is_logging, is_none, names

COMPARISONS: dict[type[ast.cmpop], tuple[str, str, str]] = {
    # operator -> pattern of its text, its name, what takes its place
    ast.Lt: (r"<", "<", "<="),
    ast.LtE: (r"<=", "<=", "<"),
    ast.Gt: (r">", ">", ">="),
    ast.GtE: (r">=", ">=", ">"),
    ast.Eq: (r"==", "==", "!="),
    ast.NotEq: (r"!=", "!=", "=="),
    ast.Is: (r"\bis\b", "is", "is not"),
    ast.IsNot: (r"\bis\s+not\b", "is not", "is"),
    ast.In: (r"\bin\b", "in", "not in"),
    ast.NotIn: (r"\bnot\s+in\b", "not in", "in"),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.BitXor: ("^", "&"),
}
CALLED = {"min": "max", "max": "min", "any": "all", "all": "any"}
# Functions with these decorators are compiled: a mutant of them needs a process and a cache of its own.
COMPILED = {"compiled", "compiled_loop", "inlined", "njit", "jit", "intrinsic", "cfunc"}


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Attributes:
        line: 1-based, where the change stands.
        lines: first and last line of the statement (or the head of it) that has to run for the change to matter.
        kind: category, such as "comparison".
        before, after: the text that is replaced, and what replaces it.
        function: qualified name of the outermost function around it; "" at module or class level.
        first: that function's first line, decorators included; 0 at module or class level.
        compiled: whether that function is compiled by Numba.
        start, end: position of `before` in the UTF-8 source, in bytes.
    """

    line: int
    lines: tuple[int, int]
    kind: str
    before: str
    after: str
    function: str
    first: int
    compiled: bool
    start: int
    end: int

    def apply(self, source: str) -> str:
        """The source with this change."""
        data = source.encode()
        return (data[: self.start] + self.after.encode() + data[self.end :]).decode()

    @property
    def change(self) -> str:
        """In one line, for a report and for the list of equivalent mutants."""
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        return f"{before} -> {after}"


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its text, each with another resulting source."""
    finder = _Finder(source)
    finder.body(ast.parse(source).body, "")
    plain = ast.dump(ast.parse(source))
    found: dict[str, Mutant] = {}
    for mutant in sorted(finder.found, key=lambda each: (each.start, each.kind, each.after)):
        try:
            result = ast.dump(ast.parse(mutant.apply(source)))
        except SyntaxError:
            continue
        if result != plain:
            found.setdefault(result, mutant)
    return list(found.values())


def places(source: str) -> set[tuple[str, str]]:
    """Text of the line, without blanks around it, and change of all mutants; quick: nothing is parsed again."""
    finder = _Finder(source)
    finder.body(ast.parse(source).body, "")
    lines = source.splitlines()
    return {(lines[mutant.line - 1].strip(), mutant.change) for mutant in finder.found}


class _Finder:
    """Walks a syntax tree with the statement and the function that it is in."""

    def __init__(self, source: str) -> None:
        self.found: list[Mutant] = []
        self._data = source.encode()
        self._offsets = [0]
        for line in self._data.splitlines(keepends=True):
            self._offsets.append(self._offsets[-1] + len(line))
        self._function: tuple[str, int, bool] = ("", 0, False)
        self._lines = (1, 1)
        self._bound: dict[str, int] = {}

    # --- statements -----------------------------------------------------------------------------------------------

    def body(self, statements: list[ast.stmt], scope: str) -> None:
        for statement in statements:
            self._statement(statement, scope)

    def _statement(self, node: ast.stmt, scope: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self._define(node, scope)
            return
        if isinstance(node, ast.ClassDef):
            self.body([part for part in node.body if not is_docstring(part)], f"{scope}{node.name}.")
            return
        self._lines = head(node)
        if isinstance(node, ast.If) and names(node.test) & {"TYPE_CHECKING", "__name__"}:
            self.body(node.orelse, scope)
            return
        if isinstance(node, ast.Raise):
            self._replace(node, "raise", "pass")
        elif isinstance(node, ast.Return) and not is_none(node.value):
            self._replace(node, "return", "return None")
        elif isinstance(node, ast.Break | ast.Continue | ast.Delete):
            self._replace(node, "removed", "pass")
        elif isinstance(node, ast.Expr) and not is_docstring(node) and not is_logging(node):
            self._replace(node, "removed call", "pass")
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            self._assignment(node)
        elif isinstance(node, ast.With | ast.AsyncWith):
            self._managers(node)
        if isinstance(node, ast.If | ast.While):
            self._negate(node.test)
        self._parts(node, scope)

    def _parts(self, node: ast.stmt, scope: str) -> None:
        """Expressions of a statement, then the statements in it."""
        if isinstance(node, ast.Assert | ast.Import | ast.ImportFrom | ast.Global | ast.Nonlocal) or is_logging(node):
            return
        skipped = {"annotation", "body", "orelse", "finalbody", "handlers", "cases"}
        if isinstance(node, ast.Raise) or is_docstring(node):
            skipped |= {"exc", "cause", "value"}
        for name, value in ast.iter_fields(node):
            if name not in skipped:
                for part in value if isinstance(value, list) else [value]:
                    if isinstance(part, ast.AST):
                        self._expression(part)
        for name in ("body", "orelse", "finalbody"):
            self.body(getattr(node, name, []), scope)
        for handler in getattr(node, "handlers", []):
            self._handler(handler, scope)
        for case in getattr(node, "cases", []):
            self._lines = (case.pattern.lineno, case.pattern.end_lineno)
            self._expression(case.pattern)
            if case.guard is not None:
                self._negate(case.guard)
                self._expression(case.guard)
            self.body(case.body, scope)

    def _managers(self, node: ast.With | ast.AsyncWith) -> None:
        """Drops context managers whose value has no name: without its name a body does not run."""
        plain = [item.context_expr for item in node.items if item.optional_vars is None]
        if len(node.items) == 1 and plain:
            end = self._data.find(b":", self._end(plain[0]), self._start(node.body[0])) + 1
            self._add(node.lineno, "dropped manager", self._start(node), end, "if True:")
        elif len(node.items) > 1:
            ends = [
                (self._start(item.context_expr), self._end(item.optional_vars or item.context_expr))
                for item in node.items
            ]
            for item, place in zip(node.items, range(len(ends)), strict=True):
                if item.optional_vars is None:
                    self._drop(item.context_expr, "dropped manager", ends, place)

    def _define(self, node: Function, scope: str) -> None:
        outer, bound = self._function, self._bound
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        self._lines = (first, node.body[0].lineno - 1 if node.body[0].lineno > node.lineno else node.lineno)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self._expression(default)
        compiled = any(names(decorator) & COMPILED for decorator in node.decorator_list)
        if not outer[0]:
            self._function = (f"{scope}{node.name}", first, compiled)
        self._bound = bindings(node)
        statements = [part for part in node.body if not is_docstring(part)]
        # Of a function with one simple statement, that statement's own mutants say the same.
        if (
            statements
            and (len(statements) > 1 or hasattr(statements[0], "body"))
            and not isinstance(statements[0], ast.Return)
        ):
            self._lines = head(statements[0])
            self._early_return(node, statements[0])
        self.body(statements, f"{scope}{node.name}.<locals>.")
        self._function, self._bound = outer, bound

    def _early_return(self, node: Function, first: ast.stmt) -> None:
        text = "return None\n" + " " * first.col_offset
        if any(isinstance(part, ast.Yield | ast.YieldFrom) for part in ast.walk(node)):
            text = "if True:\n" + " " * (first.col_offset + 4) + "return\n" + " " * first.col_offset
        start = self._offset(first.lineno, first.col_offset)
        if isinstance(first, ast.FunctionDef | ast.ClassDef) and first.decorator_list:
            return
        self._add(first.lineno, "early return", start, start, text)

    def _assignment(self, node: ast.Assign | ast.AugAssign | ast.AnnAssign) -> None:
        if node.value is None:
            return
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        again = all(
            not isinstance(target, ast.Name) or self._bound.get(target.id, 0) > 1 or isinstance(node, ast.AugAssign)
            for target in targets
        )
        if self._function[0] and again:
            self._replace(node, "removed assignment", "pass")
        if isinstance(node, ast.AugAssign) and type(node.op) in ARITHMETIC:
            sign, other = ARITHMETIC[type(node.op)]
            self._between(node.target, node.value, re.escape(sign) + "=", "arithmetic", other + "=")

    def _handler(self, node: ast.ExceptHandler, scope: str) -> None:
        if node.type is not None:
            self._lines = (node.lineno, node.lineno)
            self._replace(node.type, "exception", "()")
        self.body(node.body, scope)

    # --- expressions ----------------------------------------------------------------------------------------------

    def _expression(self, node: ast.AST) -> None:
        if isinstance(node, ast.JoinedStr):
            return  # Python 3.11 does not say where the parts of an f-string stand.
        if isinstance(node, ast.Compare):
            for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                pattern, _, other = COMPARISONS[type(operator)]
                self._between(left, right, pattern, "comparison", other)
            for part in (node.left, *node.comparators):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    self._replace(part, "constant", repr(part.value + "~"))
        elif isinstance(node, ast.BoolOp):
            self._bool(node)
        elif isinstance(node, ast.BinOp):
            self._binary(node)
        elif isinstance(node, ast.UnaryOp):
            if isinstance(node.op, ast.Not | ast.USub | ast.Invert):
                kind = "negation" if isinstance(node.op, ast.Not) else "arithmetic"
                self._replace(node, kind, f"({self._text(node.operand)})")
        elif isinstance(node, ast.IfExp):
            self._negate(node.test)
        elif isinstance(node, ast.comprehension):
            for test in node.ifs:
                self._negate(test)
        elif isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, ast.Constant):
            self._constant(node)
        elif isinstance(node, ast.Lambda):
            self._expression(node.body)
            return
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr_context | ast.operator | ast.cmpop | ast.boolop | ast.unaryop):
                self._expression(child)

    def _bool(self, node: ast.BoolOp) -> None:
        word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        texts = [f"({self._text(value)})" for value in node.values]
        self._replace(node, f"{word}/{other}", "(" + f" {other} ".join(texts) + ")")
        for index in range(len(texts)):
            rest = texts[:index] + texts[index + 1 :]
            self._replace(node, "dropped operand", "(" + f" {word} ".join(rest) + ")")

    def _binary(self, node: ast.BinOp) -> None:
        if isinstance(node.left, ast.Constant) and isinstance(node.left.value, str):
            return
        sign = ARITHMETIC.get(type(node.op))
        if sign is not None:
            self._between(node.left, node.right, re.escape(sign[0]), "arithmetic", sign[1])

    def _call(self, node: ast.Call) -> None:
        parts = sorted([*node.args, *node.keywords], key=self._start)
        ends = [(self._start(part), self._end(part)) for part in parts]
        for place, part in enumerate(parts):
            if isinstance(part, ast.keyword) and part.arg is not None and part.arg not in TEXTS:
                self._drop(part, "dropped keyword", ends, place)
        if isinstance(node.func, ast.Name) and node.func.id in CALLED:
            self._replace(node.func, "call", CALLED[node.func.id])
            return  # of two numbers either order gives the same
        for one, two in zip(node.args, node.args[1:], strict=False):
            if ast.dump(one) != ast.dump(two) and not isinstance(one, ast.Starred) and not isinstance(two, ast.Starred):
                between = self._data[self._end(one) : self._start(two)].decode()
                start, end = self._start(one), self._end(two)
                self._add(one.lineno, "swapped arguments", start, end, self._text(two) + between + self._text(one))

    def _constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._replace(node, "constant", str(not node.value))
        elif isinstance(node.value, int):
            self._replace(node, "constant", str(node.value + 1))
        elif isinstance(node.value, float):
            self._replace(node, "constant", repr(node.value * 2 + 1.5))

    def _negate(self, test: ast.expr) -> None:
        simple = isinstance(test, ast.Compare) and len(test.ops) == 1
        if simple and not isinstance(test.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):  # type: ignore[attr-defined]
            return  # `==` becomes `!=` already
        if not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)):
            self._replace(test, "negation", f"(not ({self._text(test)}))")

    # --- text -----------------------------------------------------------------------------------------------------

    def _offset(self, line: int, column: int) -> int:
        return self._offsets[line - 1] + column

    def _start(self, node: ast.AST) -> int:
        return self._offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def _end(self, node: ast.AST) -> int:
        return self._offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def _text(self, node: ast.AST) -> str:
        return self._data[self._start(node) : self._end(node)].decode()

    def _between(self, left: ast.AST, right: ast.AST, pattern: str, kind: str, after: str) -> None:
        """Replaces the operator that stands between two operands."""
        begin = self._end(left)
        place = re.search(pattern.encode(), self._data[begin : self._start(right)])
        if place is not None:
            self._add(left.end_lineno, kind, begin + place.start(), begin + place.end(), after)  # type: ignore[attr-defined]

    def _drop(self, node: ast.AST, kind: str, ends: list[tuple[int, int]], place: int) -> None:
        """Removes one of a list, which begin and end there, with the comma behind it, or else before it."""
        start, end = ends[place]
        if place + 1 < len(ends):
            end = ends[place + 1][0]
        elif place:
            start = ends[place - 1][1]
        elif comma := re.match(rb"\s*,", self._data[end:]):
            end += comma.end()
        self._add(node.lineno, kind, start, end, "")  # type: ignore[attr-defined]

    def _replace(self, node: ast.AST, kind: str, after: str) -> None:
        self._add(node.lineno, kind, self._start(node), self._end(node), after)  # type: ignore[attr-defined]

    def _add(self, line: int, kind: str, start: int, end: int, after: str) -> None:
        name, first, compiled = self._function
        before = self._data[start:end].decode()
        self.found.append(Mutant(line, self._lines, kind, before, after, name, first, compiled, start, end))


def each_line(mutant: Mutant) -> Iterator[int]:
    """Lines of which one has to run for a mutant to matter."""
    return iter(range(mutant.lines[0], mutant.lines[1] + 1))
