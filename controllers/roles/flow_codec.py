"""Flow programs as text, for the messages between VM controllers and front ends (format: control.proto).

Blocks of the pipeline's own functions are sent as name and arguments, so that neither side makes their flows one by
one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import FunctionType
from typing import Any

from controllers.program import Block, Flows, Part, Program
from hoverboard.contract.errors import InputError
from hoverboard.contract.openflow import pipeline
from hoverboard.contract.openflow.flow import Action, Flow, FlowKey, Goto, Match, Move, Output, SetField


def encode_adds(program: Program) -> str:
    """The flows that a program adds, as text."""
    texts: list[Any] = []
    last: Any = None
    run: list[Any] = []  # the function of the last block, and the arguments of consecutive blocks of that function
    for part in program.parts:
        if isinstance(part, Block) and _known(part.make):
            if part.make is not last:
                last, run = part.make, []
                texts.append({"make": part.make.__name__, "arguments": run})
            run.append([_argument(each) for each in part.arguments])
        else:
            last = None
            texts += map(_flow, (part,) if isinstance(part, Flow) else part.flows())
    return _dump(texts)


def encode_deletes(program: Program) -> str:
    """The keys that a program deletes, as text."""
    return _dump(
        [[table, priority, [list(match) for match in matches]] for table, priority, matches in program.deletes]
    )


def encode_flows(flows: Iterable[Flow]) -> str:
    """The flows of a switch, as text."""
    return _dump([_flow(flow) for flow in flows])


def decode_program(deletes: str, adds: str) -> Program:
    """The program of two texts.

    Raises:
        InputError: a text is not what `encode_*` writes.
    """
    try:
        keys: tuple[FlowKey, ...] = tuple((table, priority, _match(match)) for table, priority, match in _load(deletes))
        parts: list[Part] = []
        for one in _load(adds):
            parts += _blocks(one) if isinstance(one, dict) else (_flow_of(one),)
    except (ValueError, TypeError, KeyError, IndexError) as fault:
        raise InputError(f"not a flow program: {fault}", where="front end") from fault
    return Program(Flows(parts), keys)


def decode_flows(text: str) -> list[Flow]:
    """The flows of a switch, from text."""
    return [_flow_of(one) for one in _load(text)]


def _dump(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))


def _load(text: str) -> list[Any]:
    document = json.loads(text) if text else []
    if not isinstance(document, list):
        raise ValueError("no list")
    return document


def _flow(flow: Flow) -> list[Any]:
    match = [[one.field, one.value] if one.mask is None else list(one) for one in flow.match]
    return [flow.table, flow.priority, match, [_action(action) for action in flow.actions], flow.cookie]


def _action(action: Action) -> list[Any]:
    match action:
        case SetField(field, value):
            return ["set", field, value]
        case Move(src, dst):
            return ["move", src, dst]
        case Output(port):
            return ["output", port]
        case Goto(table):
            return ["goto", table]


_ACTIONS: dict[str, Callable[..., Action]] = {
    "set": SetField, "move": Move, "output": Output, "goto": Goto,
}  # fmt: skip


def _flow_of(text: Sequence[Any]) -> Flow:
    table, priority, match, actions, cookie = text
    return Flow(table, priority, _match(match), tuple(_ACTIONS[kind](*rest) for kind, *rest in actions), cookie)


def _match(texts: Sequence[Sequence[Any]]) -> tuple[Match, ...]:
    return tuple(Match(*text) for text in texts)


# The functions that a message may name: the pipeline's own public ones.
_MAKERS: dict[str, Callable[..., Any]] = {
    name: make
    for name, make in vars(pipeline).items()
    if isinstance(make, FunctionType) and make.__module__ == pipeline.__name__ and not name.startswith("_")
}


@cache
def _known(make: Callable[..., Any]) -> bool:
    return _MAKERS.get(make.__name__) is make


def _blocks(text: dict[str, Any]) -> Iterator[Block]:
    make = _MAKERS.get(text["make"])
    if make is None:
        raise ValueError(f"the pipeline makes no {text['make']!r}")
    for arguments in text["arguments"]:
        yield Block(make, tuple([_argument_of(each) if type(each) is list else each for each in arguments]))


def _argument(value: Any) -> Any:
    kind = type(value)
    if kind is IPv4Address or kind is IPv6Address:
        return [value.version, int(value)]
    if kind is IPv4Network or kind is IPv6Network:
        return [value.version, int(value.network_address), value.prefixlen]
    return value


def _argument_of(text: list[int]) -> Any:
    version, number, *length = text
    if length:
        return IPv4Network((number, *length)) if version == 4 else IPv6Network((number, *length))
    return IPv4Address(number) if version == 4 else IPv6Address(number)
