"""Mininet's verbs at the prompt: each is there, takes its arguments, and says what is wrong with others."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from console.prompt import verbs_of_mininet
from console.prompt.verbs_of_mininet import VerbsOfMininet
from hoverboard.contract.errors import HoverboardError, InputError, RunError
from hoverboard.contract.node_documents import Wiring
from tests.unit.topologies.mininet_verbs.wirings import WIRING
from topologies.mininet_verbs.reachability import FullPing, Pings

# The verbs of Mininet 2.3, without those of the prompt itself: EOF, exit, help, noecho, quit, sh, source, time.
OF_MININET = (
    "dpctl dump gterm intfs iperf iperfudp link links net nodes pingall pingallfull pingpair pingpairfull ports px py "
    "switch wait x xterm"
)


class Run:
    """A run that is only its wiring."""

    def wiring(self) -> Wiring:
        return WIRING

    def status(self) -> Any:
        return {"control": {"switches": {"h1": {"connected": True, "programmed": True}}}}


@pytest.fixture
def verbs() -> VerbsOfMininet:
    return VerbsOfMininet(Run(), lambda: {"net": 5})


def typed(verbs: VerbsOfMininet, line: str) -> int:
    verb, _, rest = line.partition(" ")
    return verbs.execute(verb, rest.split(), rest)


def test_every_verb_of_mininet_is_there() -> None:
    assert sorted(VerbsOfMininet.HELP) == OF_MININET.split()
    cli = pytest.importorskip("mininet.cli").CLI
    known = {name.removeprefix("do_") for name, _ in inspect.getmembers(cli) if name.startswith("do_")}
    assert known - set(VerbsOfMininet.HELP) == {"EOF", "exit", "help", "noecho", "quit", "sh", "source", "time"}


@pytest.mark.parametrize(
    "line",
    ["nodes x", "net x", "links x", "dump x", "intfs x", "ports x", "pingall 1 2", "pingpair x", "pingpairfull x",
     "pingallfull 1 2", "iperf blue-1", "iperf a b c", "iperfudp 1M blue-1", "link h1 fab", "dpctl", "xterm", "gterm",
     "x h1", "py", "px", "switch h1", "switch h1 maybe", "wait x"],
)  # fmt: skip
def test_wrong_arguments_are_told_with_the_right_ones(verbs: VerbsOfMininet, line: str) -> None:
    verb = line.partition(" ")[0]
    with pytest.raises(InputError) as caught:
        typed(verbs, line)
    assert str(caught.value) == (
        f"these are no arguments for `{verb}`\n  -> type: {verb} {VerbsOfMininet.HELP[verb][0]}"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pingall soon", "'soon' is no time-out"),
        ("iperf blue-1 red-1", "no packet crosses virtual networks"),
        ("iperf blue-1 nosuch", "there is no node 'nosuch'"),
        ("iperfudp fast blue-1 blue-2", "'fast' is no rate"),
        ("link h1 fab sideways", "'sideways' is no state of a link"),
        ("link h1 h2 up", "no link between h1 and h2"),
        ("xterm nosuch", "there is no node 'nosuch'"),
        ("switch nosuch stop", "there is no node 'nosuch'"),
        ("switch h1 stop", "the run starts and restarts the switch of h1"),
    ],
)
def test_what_cannot_be_is_told(verbs: VerbsOfMininet, line: str, message: str) -> None:
    with pytest.raises(HoverboardError) as caught:
        typed(verbs, line)
    assert message in str(caught.value)


@pytest.mark.parametrize("line", ["nodes", "net", "dump", "intfs"])
def test_lists(verbs: VerbsOfMininet, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(verbs, line) == 0
    assert "blue-1" in capsys.readouterr().out


def test_wait_counts_the_switches(verbs: VerbsOfMininet, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(verbs, "wait") == 0
    assert capsys.readouterr().out == "switches that are connected and have their program: 1\n"


@pytest.mark.parametrize(("answered", "code"), [(2, 0), (1, 1)])
def test_pings_without_an_answer_are_an_exit_code(
    verbs: VerbsOfMininet, monkeypatch: pytest.MonkeyPatch, answered: int, code: int
) -> None:
    monkeypatch.setattr(verbs_of_mininet.reachability, "ping_all", lambda *_: Pings(2, answered))
    full = [FullPing("a", "b", number < answered, (0.0, 0.0, 0.0, 0.0)) for number in range(2)]
    monkeypatch.setattr(verbs_of_mininet.reachability, "ping_all_full", lambda *_: full)
    for line in ("pingall", "pingall 1", "pingpair", "pingallfull", "pingpairfull"):
        assert typed(verbs, line) == code


def test_dpctl_that_changes_something_warns(
    verbs: VerbsOfMininet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(verbs_of_mininet.switches, "dpctl", lambda wiring, words, write: asked.append(words))
    typed(verbs, "dpctl dump-flows table=0")
    assert capsys.readouterr().err == ""
    typed(verbs, "dpctl del-flows")
    assert capsys.readouterr().err.startswith("note: the control plane programs these switches")
    assert asked == [["dump-flows", "table=0"], ["del-flows"]]


@pytest.mark.parametrize(
    ("line", "code", "out", "err"),
    [("py net + 1", 0, "6\n", ""), ("py 'a'", 0, "a\n", ""), ("py None", 0, "", ""), ("py 0", 0, "0\n", ""),
     ("py 1 / 0", 1, "", "ZeroDivisionError: division by zero\n"), ("px print(net)", 0, "5\n", ""),
     ("py (", 1, "", "SyntaxError")],
)  # fmt: skip
def test_python(
    verbs: VerbsOfMininet, line: str, code: int, out: str, err: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(verbs, line) == code
    shown = capsys.readouterr()
    assert shown.out == out
    assert shown.err.startswith(err)
    assert bool(shown.err) is bool(err)


def test_names_of_px_stay(verbs: VerbsOfMininet, capsys: pytest.CaptureFixture[str]) -> None:
    typed(verbs, "px mine = net * 2")
    typed(verbs, "py mine")
    assert capsys.readouterr().out == "10\n"


@pytest.mark.parametrize("verb", ["py", "px"])
def test_python_of_a_run_that_another_process_holds(verb: str) -> None:
    with pytest.raises(RunError, match=f"`{verb}` needs the Python objects of the run, and another process holds it"):
        typed(VerbsOfMininet(Run()), f"{verb} 1")
