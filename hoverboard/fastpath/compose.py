"""Composes elements into engines at build time (paper 4.2): writes the chains as a module, and loads it.

What is written is plain Python that calls one compiled element after the other; elements that are not
asked for are not in it and cost nothing. `python -m hoverboard.fastpath.compose [ELEMENT...]` prints it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType

from numba import config

from hoverboard.contract.errors import InputError

# The chains behind their receiving elements, in the order of figures 6 and 7: (element, module).
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
# Debug elements: name -> (module, the elements that they stand before, in both chains).
DEBUG_ELEMENTS = {
    "capture": ("capture", ("set_ethernet", "transmit")),
    "latency": ("latency", ("transmit", "deliver")),
}

_TEMPLATE = '''\
"""Engines composed by hoverboard.fastpath.compose, which see."""

from hoverboard.fastpath.commands import injected, obey, tell
from hoverboard.fastpath.compiler import compiled, compiled_loop
from hoverboard.fastpath.elements.receive import receive, vnic_receive
{imports}
from hoverboard.fastpath.layout import CTL_KIND, EGRESS, HOST_PORTS, HOST_SIDES
from hoverboard.fastpath.scheduling import HOT_DUE, HOT_ENGINE, HOT_PORT, T_HOT, T_NOW, gather, heat_rings, settle


@compiled
def egress(m, n):
{egress}


@compiled
def ingress(m, n):
{ingress}


@compiled
def serve(m, port):
    if m.ctl[CTL_KIND] == EGRESS:
        n = vnic_receive(m, port)
        if n:
            egress(m, n)
    else:
        n = receive(m, port)
        ingress(m, n)
    tell(m)
    return n


@compiled
def attend(m):
    obey(m)
    n = injected(m)
    while n:
        if m.ctl[CTL_KIND] == EGRESS:
            egress(m, n)
        else:
            ingress(m, n)
        n = injected(m)
    tell(m)


@compiled_loop
def run(t, engines):
    while True:
        woken = gather(t)
        if woken:
            for index in range(len(engines)):
                m = engines[index]
                attend(m)
                if m.host[HOST_SIDES] and m.ctl[CTL_KIND] == EGRESS:
                    heat_rings(t, m, index, m.host[HOST_PORTS])
            if woken < 0:
                return
        at = 0
        while at < t.state[T_HOT]:
            if t.hot[at, HOT_DUE] > t.state[T_NOW]:
                at += 1
                continue
            m = engines[t.hot[at, HOT_ENGINE]]
            got = serve(m, t.hot[at, HOT_PORT])
            at += settle(t, m, at, got)
'''


def chain(elements: tuple[tuple[str, str], ...], debug: Iterable[str]) -> list[tuple[str, str]]:
    """`elements` with the debug elements in their places."""
    made: list[tuple[str, str]] = []
    for name, module in elements:
        made += [(extra, DEBUG_ELEMENTS[extra][0]) for extra in sorted(debug) if name in DEBUG_ELEMENTS[extra][1]]
        made.append((name, module))
    return made


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
    chains = [chain(EGRESS_CHAIN, debug), chain(INGRESS_CHAIN, debug)]
    used = sorted({element for one in chains for element in one}, key=lambda element: (element[1], element[0]))
    imports = "\n".join(f"from hoverboard.fastpath.elements.{module} import {name}" for name, module in used)
    bodies = ["\n".join([*(f"    n = {name}(m, n)" for name, _ in one), "    return n"]) for one in chains]
    return _TEMPLATE.format(imports=imports, egress=bodies[0], ingress=bodies[1])


@cache
def _load(debug: tuple[str, ...]) -> ModuleType:
    text = source(debug)
    name = "engines_" + hashlib.sha256(text.encode()).hexdigest()[:16]
    directory = Path(config.CACHE_DIR) / "composed"
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.py"
    if not path.exists():
        # Renamed into place: two hosts may compose at the same time.
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(text)
        draft.replace(path)
    spec = importlib.util.spec_from_file_location(f"hoverboard_composed.{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Numba looks functions up by their module
    spec.loader.exec_module(module)
    return module


def compose(debug: Iterable[str] = ()) -> ModuleType:
    """The engines with these debug elements: functions egress, ingress, serve, attend and run."""
    return _load(tuple(sorted(set(debug))))


if __name__ == "__main__":
    print(source(sys.argv[1:]), end="")
