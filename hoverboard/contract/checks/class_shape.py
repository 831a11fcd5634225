"""Checks the shape of a class that a user has written: which methods it has, and which arguments they take. Pure.

A class is looked at and not called, so a fault is found before anything starts, and not when the method is needed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from hoverboard.contract.checks.similar_names import similar


class Method(NamedTuple):
    """A method that Hoverboard calls.

    Attributes:
        name: of the method.
        arguments: names of the arguments that it gets, by position, without `self`.
        required: the class must define it itself; an inherited one is not enough.
        items: it may be a generator, because its caller only goes through what it returns.
    """

    name: str
    arguments: tuple[str, ...]
    required: bool = False
    items: bool = True

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.arguments)})"


class ShapeFault(NamedTuple):
    """The fault of a class.

    Attributes:
        what: the fault.
        line: of the method in its file; None: the fault is in no line.
    """

    what: str
    line: int | None = None


def methods_of(base: type[Any], required: str = "", *, items: bool) -> list[Method]:
    """The public methods of a base class, which a derived class may have in its own form.

    Args:
        base: the class.
        required: name of the method that each derived class must have.
        items: whether the methods may be generators.
    """
    found = []
    for name, function in vars(base).items():
        if not name.startswith("_") and inspect.isfunction(function):
            _self, *arguments = inspect.signature(function).parameters
            lazy = items or inspect.isgeneratorfunction(function)
            found.append(Method(name, tuple(arguments), name == required, lazy))
    return found


def shape_fault(kind: type[Any], methods: Sequence[Method], base: type[Any] | None = None) -> ShapeFault | None:
    """The first fault of a class; None: it has the methods, and they can be called.

    Args:
        kind: the class.
        methods: that it should have, or may have.
        base: the class from which it must derive; what it inherits from there is not its own.
    """
    for method in methods:
        owner = next((one for one in _own(kind, base) if method.name in vars(one)), None)
        if owner is not None:
            fault = _method_fault(kind, method, inspect.getattr_static(kind, method.name))
            if fault is not None:
                return fault
        elif method.required:
            return ShapeFault(f"class {kind.__name__!r} has no method {method}{_guess(kind, method, methods, base)}")
    return None


def _own(kind: type[Any], base: type[Any] | None) -> Iterator[type[Any]]:
    """The class and those it derives from, without `base` and what that derives from."""
    passed = (object,) if base is None else base.__mro__
    return (one for one in kind.__mro__ if one not in passed)


def _guess(kind: type[Any], method: Method, methods: Sequence[Method], base: type[Any] | None) -> str:
    """The method of the class that may be meant, if its name is similar."""
    known = {one.name for one in methods}
    own = [name for one in _own(kind, base) for name, value in vars(one).items() if callable(value)]
    close = similar(method.name, [name for name in own if name not in known])
    return "" if close is None else f"; is `{close}` meant to be it?"


def _method_fault(kind: type[Any], method: Method, found: object) -> ShapeFault | None:
    function = found.__func__ if isinstance(found, (classmethod, staticmethod)) else found
    name = f"{kind.__name__}.{method.name}"
    code = getattr(function, "__code__", None)
    line = code.co_firstlineno if code is not None else None
    if not callable(function):
        return ShapeFault(f"{name} is no method, but {type(function).__name__}")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return ShapeFault(f"{name} is `async`, and is called without `await`", line)
    if not method.items and inspect.isgeneratorfunction(function):
        return ShapeFault(f"{name} has a `yield`, so it returns no answer", line)
    given: tuple[object, ...] = () if isinstance(found, staticmethod) else (kind,)
    taken = _parameters(function, given + method.arguments)
    if taken is not None:
        own = "" if isinstance(found, staticmethod) else "self, "
        called = f"{method.name}({(own + ', '.join(method.arguments)).removesuffix(', ')})"
        return ShapeFault(f"{name}{taken} cannot be called as {called}", line)
    return None


def _parameters(function: Callable[..., Any], given: tuple[object, ...]) -> str | None:
    """The parameters of a function that cannot be called with these arguments; None: it can, or they are not known."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*given)
    except TypeError:
        names = ", ".join(str(one).partition(":")[0].partition(" =")[0] for one in signature.parameters.values())
        return f"({names})"
    return None
