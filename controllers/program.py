"""Flow programs: the plain data that VM controllers send to switches.

A switch applies a program as one atomic, ordered change. Neither side's libraries show here. Most flows of a large
network are never inspected one by one. A `Block` stands for several flows: the function that makes them, and its
arguments. It has a tenth of their size, is encoded in one step (`ofe.templates`), and makes flows only when needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, NamedTuple, overload

from hoverboard.contract.openflow.flow import Flow, FlowKey

_SIZES_REMEMBERED = 10_000
_sizes: dict[Any, int] = {}
_VALUES = frozenset({int, str, IPv4Address, IPv6Address, IPv4Network, IPv6Network})


class Block(NamedTuple):
    """The flows that `make(*arguments)` returns, one or several; equal blocks are equal flows.

    Attributes:
        make: a pure function of the pipeline. The values in its flows may depend on all arguments. Of a VNI, port, MAC
            or address, only the type may affect the set of flows; of a prefix, also its length.
        arguments: hashable, by position.
    """

    make: Callable[..., Flow | Sequence[Flow]]
    arguments: tuple[Any, ...]

    def flows(self) -> Sequence[Flow]:
        """The flows, made by this call."""
        made = self.make(*self.arguments)
        return (made,) if isinstance(made, Flow) else made

    @property
    def size(self) -> int:
        """The number of flows."""
        # For a value, only its type affects the number of flows.
        shape = (self.make, *[kind if (kind := type(one)) in _VALUES else one for one in self.arguments])
        size = _sizes.get(shape)
        if size is None:
            if len(_sizes) >= _SIZES_REMEMBERED:
                _sizes.clear()
            size = _sizes[shape] = len(self.flows())
        return size


Part = Flow | Block


def block(make: Callable[..., Flow | Sequence[Flow]], *arguments: Any) -> Block:
    """The flows of `make(*arguments)`, to be made later."""
    return Block(make, arguments)


class Flows(Sequence[Flow]):
    """A sequence of flows, stored as parts; each flow is made when it is read.

    Args:
        parts: flows and blocks.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts = tuple(parts)

    def __len__(self) -> int:
        return sum([part.size if isinstance(part, Block) else 1 for part in self.parts])

    def __bool__(self) -> bool:
        return bool(self.parts)

    def __iter__(self) -> Iterator[Flow]:
        for part in self.parts:
            if isinstance(part, Block):
                yield from part.flows()
            else:
                yield part

    @overload
    def __getitem__(self, index: int) -> Flow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Flow, ...]: ...
    def __getitem__(self, index: int | slice) -> Flow | tuple[Flow, ...]:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Flows | tuple) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Flows({tuple(self)!r})"


@dataclass(frozen=True, slots=True)
class Program:
    """One atomic change of one switch: first `deletes` (by table, priority, match), then `adds`.

    Adding a flow whose key exists replaces it. No key is in both parts.
    """

    adds: Sequence[Flow] = ()
    deletes: tuple[FlowKey, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.adds or self.deletes)

    def __len__(self) -> int:
        return len(self.adds) + len(self.deletes)

    @property
    def parts(self) -> Sequence[Part]:
        """The flows to add, as the parts that are encoded fastest."""
        return self.adds.parts if isinstance(self.adds, Flows) else self.adds
