"""The verbs that the prompt has from Mininet: each takes the words after it, prints, and raises an error of ours.

They do what `topologies.mininet_verbs` can do with the wiring of a run. So they work whether this process or another
one holds the run. Only `py` and `px` need the objects of a run that this process holds.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from hoverboard.contract.errors import InputError, RunError
from topologies.mininet_verbs import links, listing, reachability, switches, terminals, throughput

if TYPE_CHECKING:
    from hoverboard.contract.documents import Status
    from hoverboard.contract.node_documents import WiredNode, Wiring


class PromptedRun(Protocol):
    """The part of a run that the prompt needs. A testbed has it, and so has a client of a run."""

    def wiring(self) -> Wiring:
        """The nodes and links."""

    def status(self) -> Status:
        """The document of `hoverboard status`."""


class VerbsOfMininet:
    """Mininet's verbs on one run.

    Args:
        run: the run.
        python_names: the names that `py` and `px` know; None: another process holds the run.
    """

    # verb -> (arguments, what it does); in the order of `help`
    HELP: dict[str, tuple[str, str]] = {
        "nodes": ("", "list all nodes"),
        "net": ("", "list the interfaces of each node, and what each leads to"),
        "links": ("", "list all links: OK, DOWN or MISSING"),
        "dump": ("", "list class, addresses and pid of each node"),
        "intfs": ("", "list the interfaces of each node"),
        "ports": ("", "list the OpenFlow ports of each switch"),
        "pingall": ("[SECONDS]", "ping between all VMs of each virtual network"),
        "pingpair": ("", "ping between the first two VMs"),
        "pingallfull": ("[SECONDS]", "as pingall, with the times"),
        "pingpairfull": ("", "as pingpair, with the times"),
        "iperf": ("[VM VM]", "measure TCP between two VMs by iperf3"),
        "iperfudp": ("[RATE VM VM]", "measure UDP between two VMs by iperf3, such as 10M"),
        "link": ("A B up|down", "take a link down or up: a VM and its host, a node and the fabric"),
        "dpctl": ("COMMAND ...", "run an ovs-ofctl command on all switches"),
        "switch": ("NODE start|stop", "is refused: the run starts and restarts its switches"),
        "wait": ("", "wait until all switches have their program"),
        "xterm": ("NODE ...", "open a terminal for each node; gterm opens GNOME's"),
        "gterm": ("NODE ...", "open a GNOME terminal for each node"),
        "x": ("NODE CMD ...", "start an X11 program in a node"),
        "py": ("EXPRESSION", "print a Python expression: net, testbed, and blue_1 for node blue-1"),
        "px": ("STATEMENT", "execute a Python statement"),
    }

    def __init__(self, run: PromptedRun, python_names: Callable[[], dict[str, Any]] | None = None) -> None:
        self._run = run
        self._python_names = python_names
        self._locals: dict[str, Any] = {}
        self._terminals: list[subprocess.Popen[bytes]] = []

    def execute(self, verb: str, words: list[str], text: str) -> int:
        """Execute a verb, and return its exit code.

        Args:
            verb: a key of `HELP`.
            words: the words after it.
            text: the same as it was typed.

        Raises:
            HoverboardError: the verb cannot do it.
        """
        if verb in ("py", "px"):
            return self._python(verb, text)
        return int(getattr(self, f"_{verb}")(words) or 0)

    def _nodes(self, words: list[str]) -> None:
        self._list("nodes", words, listing.nodes)

    def _net(self, words: list[str]) -> None:
        self._list("net", words, listing.net)

    def _dump(self, words: list[str]) -> None:
        self._list("dump", words, listing.dump)

    def _intfs(self, words: list[str]) -> None:
        self._list("intfs", words, listing.intfs)

    def _ports(self, words: list[str]) -> None:
        self._list("ports", words, switches.port_lines)

    def _links(self, words: list[str]) -> None:
        self._list("links", words, lambda wiring: listing.links(wiring, links.state_of(wiring)))

    def _list(self, verb: str, words: list[str], lines: Callable[[Wiring], Iterable[str]]) -> None:
        self._check(verb, not words)
        for line in lines(self._run.wiring()):
            print(line)

    def _pingall(self, words: list[str]) -> int:
        self._check("pingall", len(words) < 2)
        pings = reachability.ping_all(self._vms(), _write, reachability.timeout_of("".join(words)))
        return int(pings.answered < pings.sent)

    def _pingpair(self, words: list[str]) -> int:
        self._check("pingpair", not words)
        pings = reachability.ping_all(reachability.first_pair(self._run.wiring()), _write)
        return int(pings.answered < pings.sent)

    def _pingallfull(self, words: list[str]) -> int:
        self._check("pingallfull", len(words) < 2)
        found = reachability.ping_all_full(self._vms(), _write, reachability.timeout_of("".join(words)))
        return int(not all(one.answered for one in found))

    def _pingpairfull(self, words: list[str]) -> int:
        self._check("pingpairfull", not words)
        found = reachability.ping_all_full(reachability.first_pair(self._run.wiring()), _write)
        return int(not all(one.answered for one in found))

    def _iperf(self, words: list[str]) -> None:
        self._check("iperf", len(words) in (0, 2))
        throughput.report(self._pair(words), _write)

    def _iperfudp(self, words: list[str]) -> None:
        self._check("iperfudp", len(words) in (0, 1, 3))
        throughput.report(self._pair(words[1:]), _write, udp_rate=words[0] if words else throughput.UDP_RATE)

    def _link(self, words: list[str]) -> None:
        self._check("link", len(words) == 3)
        links.set_link(self._run.wiring(), words[0], words[1], links.up_of(words[2]))

    def _dpctl(self, words: list[str]) -> None:
        self._check("dpctl", bool(words))
        wiring = self._run.wiring()
        for note in (switches.warning(wiring, words), switches.uncounted(wiring, words)):
            if note:
                print(f"note: {note}", file=sys.stderr)
        switches.dpctl(wiring, words, _write)

    def _switch(self, words: list[str]) -> None:
        self._check("switch", len(words) == 2 and words[1] in ("start", "stop"))
        listing.node(self._run.wiring(), words[0])
        raise InputError(
            f"the run starts and restarts the switch of {words[0]}",
            next_step="to see a switch fail, end its process: docs/failure.md",
        )

    def _wait(self, words: list[str]) -> None:
        self._check("wait", not words)
        print(f"switches that are connected and have their program: {switches.wait_connected(self._run.status)}")

    def _xterm(self, words: list[str], kind: str = "xterm") -> None:
        self._check(kind, bool(words))
        wiring = self._run.wiring()
        for node in [listing.node(wiring, name) for name in words]:
            self._terminals.append(terminals.open_terminal(node, wiring["run"], kind))

    def _gterm(self, words: list[str]) -> None:
        self._xterm(words, "gterm")

    def _x(self, words: list[str]) -> None:
        self._check("x", len(words) > 1)
        node = listing.node(self._run.wiring(), words[0])
        self._terminals.append(terminals.run_x11(node, words[1:]))

    def _python(self, verb: str, text: str) -> int:
        self._check(verb, bool(text))
        if self._python_names is None:
            raise RunError(
                f"`{verb}` needs the Python objects of the run, and another process holds it",
                next_step="bring a run up without --detach, or write a program: docs/api.md",
            )
        self._locals.update(self._python_names())
        try:
            if verb == "px":
                exec(text, self._locals)
                return 0
            result = eval(text, self._locals)
        except Exception as error:  # whatever the person's own code raises
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 1
        if result is not None:
            print(result if isinstance(result, str) else repr(result))
        return 0

    def _vms(self) -> list[WiredNode]:
        return [node for node in self._run.wiring()["nodes"] if node["kind"] == "vm"]

    def _pair(self, names: list[str]) -> list[WiredNode]:
        wiring = self._run.wiring()
        return [listing.node(wiring, name) for name in names] or reachability.first_and_last(wiring)

    def _check(self, verb: str, right: bool) -> None:
        if not right:
            raise InputError(f"these are no arguments for `{verb}`", next_step=f"type: {verb} {self.HELP[verb][0]}")


def _write(text: str) -> None:
    print(text, end="", flush=True)
