"""Composes elements into engines at build time (paper 4.2): writes the chains as a Python module and loads it.

The module is plain Python that calls one compiled element after the other. It contains only the chosen elements, so the
other elements cost nothing. `python -m hoverboard.fastpath.engine.compose [ELEMENT...]` prints it.
"""

from __future__ import annotations

import hashlib
import linecache
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from hoverboard.contract.errors import InputError
from hoverboard.fastpath.compiled.code_cache import COMPOSED
from hoverboard.fastpath.compiled.compiler import store
from hoverboard.fastpath.memory import control

# The chains after their receiving elements, in the order of figures 6 and 7: (element, module).
EGRESS_CHAIN = (
    ("parse_packets", "parser"),
    ("look_up", "lookup"),
    ("account", "account"),
    ("run_stages", "stages"),
    ("set_ethernet", "ethernet"),
    ("encapsulate_packets", "encapsulate"),
    ("transmit", "transmit"),
)
INGRESS_CHAIN = (
    ("police", "police"),
    ("decapsulate_packets", "decapsulate"),
    ("parse_packets", "parser"),
    ("look_up", "lookup"),
    ("account", "account"),
    ("run_stages", "stages"),
    ("set_ethernet", "ethernet"),
    ("encapsulate_packets", "encapsulate"),
    ("enqueue", "vmqueue"),
    ("transmit", "transmit"),
    ("deliver", "vmqueue"),
)


@dataclass(frozen=True, slots=True)
class DebugElement:
    """The places of the functions of one debug element.

    Attributes:
        received: function after the receiving elements; it gets each packet once, as it came in.
        before: (egress, ingress): element of the chain -> function that runs before it.
        last: function at the end of both chains.
    """

    module: str
    received: str
    before: tuple[dict[str, str], dict[str, str]]
    last: str | None = None


DEBUG_ELEMENTS = {
    "capture": DebugElement(
        "capture",
        "capture_received",
        (
            {"account": "capture_dropped", "transmit": "capture_sent"},
            {"account": "capture_dropped", "enqueue": "capture_sent"},
        ),
    ),
    "latency": DebugElement(
        "latency", "begin_sample", ({"transmit": "mark_routed"}, {"transmit": "mark_routed"}), "end_sample"
    ),
}

_TEMPLATE = '''\
"""Engines composed by hoverboard.fastpath.engine.compose: see there."""

from hoverboard.fastpath.engine.commands import notify, run_commands, take_injected
from hoverboard.fastpath.compiled.compiler import compiled, compiled_loop
from hoverboard.fastpath.elements.receive import receive, vnic_receive
{imports}
from hoverboard.fastpath.memory import control, host
from hoverboard.fastpath.engine.scheduling import HOT_DUE, HOT_ENGINE, HOT_PORT, T_HOT, T_NOW
from hoverboard.fastpath.engine.scheduling import mark_hot_rings, update_hot, wait_for_ports


@compiled
def egress(m, n):
{egress}


@compiled
def ingress(m, n):
{ingress}


@compiled
def serve(m, port):
    if m.ctl[control.KIND] == control.EGRESS:
        n = vnic_receive(m, port)
{received}        if n:
            egress(m, n)
    else:
        n = receive(m, port)
{received}        ingress(m, n)
    notify(m)
    return n


@compiled
def serve_rings(m):
    run_commands(m)
    n = take_injected(m)
    # Packets that a turn of the back half left in VM queues would otherwise wait for the next frame from the fabric.
    while n or m.ctl[control.QUEUED]:
        if m.ctl[control.KIND] == control.EGRESS:
            egress(m, n)
        else:
            ingress(m, n)
        n = take_injected(m)
    notify(m)


@compiled_loop
def run(t, engines):
    while True:
        woken = wait_for_ports(t)
        if woken:
            for index in range(len(engines)):
                m = engines[index]
                m.ctl[control.NOW] = t.state[T_NOW]
                serve_rings(m)
                if m.host[host.SIDES] and m.ctl[control.KIND] == control.EGRESS:
                    mark_hot_rings(t, m, index, m.host[host.PORTS])
            if woken < 0:
                return
        at = 0
        while at < t.state[T_HOT]:
            if t.hot[at, HOT_DUE] > t.state[T_NOW]:
                at += 1
                continue
            m = engines[t.hot[at, HOT_ENGINE]]
            m.ctl[control.NOW] = t.state[T_NOW]
            got = serve(m, t.hot[at, HOT_PORT])
            at += update_hot(t, m, at, got)
'''


def chain(kind: int, debug: Iterable[str] = ()) -> list[tuple[str, str]]:
    """The (element, module) pairs of an engine after its receiving elements, with debug elements in their places.

    Args:
        kind: control.EGRESS or INGRESS.
        debug: names of debug elements.
    """
    chosen = [DEBUG_ELEMENTS[name] for name in sorted(set(debug))]
    made: list[tuple[str, str]] = []
    for name, module in INGRESS_CHAIN if kind == control.INGRESS else EGRESS_CHAIN:
        made += [(one.before[kind][name], one.module) for one in chosen if name in one.before[kind]]
        made.append((name, module))
    return made + [(one.last, one.module) for one in chosen if one.last is not None]


def source(debug: Iterable[str] = ()) -> str:
    """The text of the composed module.

    Raises:
        InputError: there is no such debug element.
    """
    debug = sorted(set(debug))
    for name in debug:
        if name not in DEBUG_ELEMENTS:
            known = ", ".join(sorted(DEBUG_ELEMENTS))
            raise InputError(f"there is no debug element {name!r}", where="engine", next_step=f"use one of: {known}")
    chains = [chain(control.EGRESS, debug), chain(control.INGRESS, debug)]
    taps = [(DEBUG_ELEMENTS[name].received, DEBUG_ELEMENTS[name].module) for name in debug]
    elements = {element for one in (*chains, taps) for element in one}
    used = sorted(elements, key=lambda element: (element[1], element[0]))
    imports = "\n".join(f"from hoverboard.fastpath.elements.{module} import {name}" for name, module in used)
    bodies = ["\n".join([*(f"    n = {name}(m, n)" for name, _ in one), "    return n"]) for one in chains]
    received = "".join(f"        n = {name}(m, n)\n" for name, _ in taps)
    return _TEMPLATE.format(imports=imports, egress=bodies[0], ingress=bodies[1], received=received)


@cache
def _load(debug: tuple[str, ...]) -> ModuleType:
    text = source(debug)
    name = "engines_" + hashlib.sha256(text.encode()).hexdigest()[:16]
    path = f"{COMPOSED}/{name}.py"  # in memory alone: the place of compiled code may be read-only
    module = ModuleType(f"hoverboard_composed.{name}")
    module.__file__ = path
    sys.modules[module.__name__] = module  # Numba looks functions up by their module
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)  # tracebacks show their lines
    exec(compile(text, path, "exec"), module.__dict__)
    return module


def compose(debug: Iterable[str] = ()) -> ModuleType:
    """The engines with these debug elements: functions egress, ingress, serve, serve_rings and run."""
    return _load(tuple(sorted(set(debug))))


def _marker(debug: Iterable[str]) -> str:
    digest = hashlib.sha256(source(debug).encode()).hexdigest()[:16]
    return f"composed/{digest}.compiled"


def is_compiled(debug: Iterable[str] = ()) -> bool:
    """Whether these engines are in the cache on disk, so that they load without compiling."""
    return store.read(_marker(debug)) is not None


def note_compiled(debug: Iterable[str] = ()) -> None:
    """Record that these engines are in the cache on disk."""
    if not is_compiled(debug):
        store.write(_marker(debug), b"")


if __name__ == "__main__":
    print(source(sys.argv[1:]), end="")
