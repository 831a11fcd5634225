"""The words that Tab offers at the prompt. Pure: the words of a line go in, candidates come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

ANY_NODE, VM, FILE, LINE, VERB = "NODE", "VM", "FILE", "LINE", "VERB"
# For each verb of Mininet, what its arguments are, one after the other; the last goes for all that follow.
_ARGUMENTS: dict[str, tuple[str | tuple[str, ...], ...]] = {
    "iperf": (VM,),
    "iperfudp": ((), VM),
    "link": (ANY_NODE, ANY_NODE, ("up", "down"), ()),
    "switch": (ANY_NODE, ("start", "stop"), ()),
    "xterm": (ANY_NODE,),
    "gterm": (ANY_NODE,),
    "x": (ANY_NODE,),
    "exec": (ANY_NODE,),
    "noecho": (LINE,),
    "time": (LINE,),
    "source": (FILE, ()),
    "help": (VERB, ()),
    "dpctl": (("dump-flows", "dump-groups", "dump-meters", "dump-ports", "dump-tables", "show"), ()),
}
_FILES = ("apply",)  # verbs of `hoverboard` whose argument is a file


@dataclass(frozen=True)
class Vocabulary:
    """The words that a prompt knows.

    Attributes:
        verbs: that a line may start with.
        nodes: names of all nodes.
        vms: names of the VMs.
        options: for the words of a verb of `hoverboard`, the options and words that may follow.
        files: for the beginning of a path, the paths that start so.
    """

    verbs: Sequence[str]
    nodes: Sequence[str]
    vms: Sequence[str]
    options: Callable[[Sequence[str]], Iterable[str]] = field(default=lambda words: ())
    files: Callable[[str], Iterable[str]] = field(default=lambda start: ())


def candidates(words: Sequence[str], start: str, known: Vocabulary) -> list[str]:
    """The words that may stand next in a line, and start with `start`.

    Args:
        words: those before.
        start: what is typed of the next one.
        known: the words that the prompt knows.
    """
    return sorted({word for word in _next(words, start, known) if word.startswith(start)})


def _next(words: Sequence[str], start: str, known: Vocabulary) -> Iterable[str]:
    if not words:
        return [*known.verbs, *known.nodes]
    verb, rest = words[0], words[1:]
    if verb in _ARGUMENTS:
        kinds = _ARGUMENTS[verb]
        return _of_kind(kinds[min(len(rest), len(kinds) - 1)], rest, start, known)
    if verb in known.nodes and verb not in known.verbs:
        return known.nodes
    options = list(known.options(words))
    if start.startswith("-"):
        return options
    if verb in _FILES:
        return known.files(start)
    return [*options, *known.nodes] if any(option.startswith("-") for option in options) else options


def _of_kind(kind: str | tuple[str, ...], rest: Sequence[str], start: str, known: Vocabulary) -> Iterable[str]:
    if isinstance(kind, tuple):
        return kind
    if kind == LINE:
        return _next(rest, start, known)
    if kind == FILE:
        return known.files(start)
    return {ANY_NODE: known.nodes, VM: known.vms, VERB: known.verbs}[kind]
