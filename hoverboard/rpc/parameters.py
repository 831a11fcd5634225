"""Checks the parameters of a request against the annotations of the method, before the method runs.

A method that declares `vm: Name, ip: IPv4Address, rate: Count | None` gets these types and no others. Limits are those
of the annotated types (pydantic). A parameter without an annotation is not checked.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hoverboard.contract.errors import InputError

_MOST_SHOWN = 120  # characters of a wrong value, and of the reason, which may quote it


def checked(method: str, call: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a request in the types that `call` declares: an address for the text of one.

    Raises:
        InputError: a parameter has another type, or a value that its type rejects; the error names it.
    """
    return {name: _value(method, name, value, _annotation(call, name)) for name, value in params.items()}


def _annotation(call: Callable[..., Any], name: str) -> Any:
    """The type of a parameter; Any if it declares no type."""
    parameter = inspect.signature(call).parameters.get(name)
    if parameter is None or parameter.annotation is parameter.empty:
        return Any
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    function = inspect.unwrap(getattr(call, "__func__", call))
    # Not typing.get_type_hints(): the type of a result may be imported for type checkers only.
    return eval(parameter.annotation, function.__globals__)


def _value(method: str, name: str, value: Any, kind: Any) -> Any:
    if kind is Any:
        return value
    try:
        # As JSON: text may become an address, but a text with digits is no number.
        return _adapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        at = "".join(f"[{key!r}]" for key in fault["loc"] if isinstance(key, int))
        reason = _shortened(fault["msg"].removeprefix("Value error, "))
        raise InputError(
            f"{method}: parameter {name}{at} cannot be {_shortened(json.dumps(value))}: {reason}"
        ) from None


def _shortened(text: str) -> str:
    half = _MOST_SHOWN // 2
    return text if len(text) <= _MOST_SHOWN else f"{text[:half]} ... {text[-half:]}"


@functools.lru_cache(maxsize=64)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
